"""A call site as it is known at run time: which cluster a prompt belongs to, and whether to any.

Numpy and dictionaries only. How it is learned is in `site_training.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.conversion.clusters import Assignment
from stellwerk.routers.terms import Floats, Terms

Doubles = NDArray[np.float64]

WORDS_COUNT = 0.75  # how much words that were never seen count, beside how sure the kind is


@dataclass(frozen=True, kw_only=True)
class Site:
    """What tells the clusters of one call site apart, and from what belongs to none.

    Args:
        call_site: its name.
        clusters: ids.
        terms: the vocabulary.
        weights: one row for each term, and one for each number of an embedding; one column for each kind of
            prompt: finer than clusters.
        bias: one for each kind.
        owners: place of each kind's cluster.
        mean: of the two signs of novelty over held-out examples.
        scale: their standard deviations.
        usual: for each cluster the distances of held-out examples, ascending; empty where too few are known,
            so that all is novel.
        embedding: how many numbers an embedding has; 0 where none is used.
    """

    call_site: str
    clusters: tuple[str, ...]
    terms: Terms
    weights: Floats
    bias: Floats
    owners: NDArray[np.int32]
    mean: Doubles
    scale: Doubles
    usual: tuple[Doubles, ...]
    embedding: int = 0

    def place(
        self, text: str, *, false_alarms: float, embedding: Sequence[float] | None = None
    ) -> Assignment:
        """Where a prompt belongs.

        Args:
            text: what is asked.
            false_alarms: share of usual prompts that may be called novel.
            embedding: of the text, where the site uses one.
        """
        indices, weights = self.terms.vector(text)
        likely = weights @ self.weights[indices] + self.bias
        if self.embedding and embedding is not None:
            likely = likely + unit(np.asarray([embedding], np.float32))[0] @ self.weights[len(self.terms) :]
        kind = int(likely.argmax())
        owner = int(self.owners[kind])
        signs = np.array([-float(likely[kind]), self.terms.unknown(text)])
        distance = float(distances(signs[None], self.mean, self.scale)[0])
        usual = self.usual[owner]
        if not usual.size:
            return Assignment(cluster=self.clusters[owner], distance=math.inf, novel=True, p_value=0.0)
        beyond = usual.size - int(np.searchsorted(usual, distance, side="left"))
        p_value = (1 + beyond) / (1 + usual.size)
        return Assignment(
            cluster=self.clusters[owner], distance=distance, novel=p_value <= false_alarms, p_value=p_value
        )


def distances(signs: Doubles, mean: Doubles, scale: Doubles) -> Doubles:
    """How far prompts are from what is usual, from the two signs of it: one row each."""
    far: Doubles = ((signs - mean) / scale) @ np.array([1.0, WORDS_COUNT])
    return far


def unit(rows: Floats) -> Floats:
    """Rows of length 1, but for those that are all zero."""
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    of_length_1: Floats = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return of_length_1
