"""Features: a routing context as numbers, sparse for linear models and dense for near neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stellwerk.routers.structure import NAMES, structure
from stellwerk.routers.terms import Floats, Ints, Terms
from stellwerk.routing_context import RoutingContext

STRUCTURE = 0.15  # weight of a standard deviation of a structural feature beside a text's terms, of length 1
CLOSE = 0.1  # the same where distances are taken
_FAR = 4.0  # standard deviations at which a structural feature is cut off
_NAMES = 256


@dataclass(frozen=True, slots=True)
class Encoded:
    """A context as numbers.

    Args:
        indices: of its sparse features, without repeats.
        weights: of each.
        dense: position among other contexts, where near means alike.
    """

    indices: Ints
    weights: Floats
    dense: Floats


@dataclass(frozen=True, kw_only=True)
class Features:
    """How a context becomes numbers. Sparse features are, in this order: terms, names, structure, embedding.

    Args:
        terms: the vocabulary.
        names: workers and tools, as `worker:…` and `tool:…`.
        mean: of each structural feature.
        scale: its standard deviation.
        basis: one row for each term and name; the columns span what texts have in common.
        embedding: how many numbers an embedding has, or 0 where none is used.
    """

    terms: Terms
    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    basis: Floats
    embedding: int = 0

    @cached_property
    def _names(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names, len(self.terms))}

    @property
    def width(self) -> int:
        """Number of sparse features."""
        return len(self.terms) + len(self.names) + len(NAMES) + self.embedding

    @property
    def depth(self) -> int:
        """Number of dense ones."""
        return int(self.basis.shape[1]) + len(NAMES) + self.embedding

    def encode(self, context: RoutingContext, embedding: Sequence[float] | None = None) -> Encoded:
        """The context as numbers.

        Args:
            context: of the subtask.
            embedding: of its instruction, where the features have one; all zero if None.
        """
        indices, weights = self.terms.vector(context["instruction"])
        if known := sorted({index for name in names(context) if (index := self._names.get(name))}):
            indices = np.concatenate([indices, np.asarray(known, np.int32)])
            weights = np.concatenate([weights, np.full(len(known), 1 / np.sqrt(len(known)), np.float32)])
        common = weights @ self.basis[indices] if indices.size else np.zeros(self.basis.shape[1], np.float32)
        length = float(np.sqrt(common @ common))
        counted = np.clip((structure(context) - self.mean) / self.scale, -_FAR, _FAR)
        rest = [STRUCTURE * counted]
        dense = [common / length if length > 0 else common, CLOSE * counted]
        if self.embedding:
            vector = np.zeros(self.embedding, np.float32)
            if embedding is not None:
                vector[:] = embedding
                vector /= max(float(np.sqrt(vector @ vector)), 1e-9)
            rest.append(vector)
            dense.append(vector)
        start = len(self.terms) + len(self.names)
        return Encoded(
            np.concatenate([indices, np.arange(start, self.width, dtype=np.int32)]),
            np.concatenate([weights, *rest]),
            np.concatenate(dense),
        )

    def name(self, index: int) -> str:
        """A sparse feature, as shown to a person."""
        if index < len(self.terms):
            return self.terms.name(index)
        rest = [*self.names, *NAMES]
        index -= len(self.terms)
        return rest[index] if index < len(rest) else f"embedding {index - len(rest)}"


def names(context: RoutingContext) -> list[str]:
    """The worker and its tools, told apart from each other."""
    return [f"worker:{context['worker']}", *(f"tool:{tool}" for tool in context["tools"])]


def most_common_names(contexts: Sequence[RoutingContext]) -> tuple[str, ...]:
    """Names that occur more than once, the most frequent first, up to a bound."""
    counts = Counter(name for context in contexts for name in set(names(context)))
    frequent = sorted((-times, name) for name, times in counts.items() if times > 1)
    return tuple(name for _, name in frequent[:_NAMES])


def scaled(contexts: Sequence[RoutingContext]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each structural feature; one that never varies has the deviation 1."""
    rows: NDArray[np.float32] = np.stack([structure(context) for context in contexts])
    deviation = rows.std(axis=0)
    return rows.mean(axis=0), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
