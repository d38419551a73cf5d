"""What every router under test can do here, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from benchmarks.routing.corpus import Array, Episodes, texts


class Method(Protocol):
    """Predicts, from a context alone, which tier a subtask needs."""

    name: str
    kind: str

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """Learn from labelled episodes; settings are picked on the validation rows."""
        ...

    def predict(self, episodes: Episodes) -> Array:
        """Either per tier how right it will be, of shape (episodes, tiers), or per episode how hard it is."""
        ...


def difficulty(prediction: Array) -> Array:
    """Per episode, how much more the largest tier is needed than the smallest."""
    return prediction if prediction.ndim == 1 else prediction[:, -1] - prediction[:, 0]


class Length:
    """Long texts are hard."""

    name, kind = "length alone", "plain"

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """Nothing to learn."""

    def predict(self, episodes: Episodes) -> Array:
        """Characters of each text."""
        return np.array([len(text) for text in texts(episodes)], dtype=np.float64)
