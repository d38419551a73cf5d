"""Stellwerk's own router under test: the model that `train` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.routing.corpus import Array, Episodes
from stellwerk.routers.model import RouterModel
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.training import train


class Stellwerk:
    """The trained model, as a predictor from contexts alone.

    Args:
        options: of the training; the held-out share is 0, since other rows are kept for thresholds.
    """

    name, kind = "stellwerk", "ours"

    def __init__(self, options: TrainingOptions | None = None) -> None:
        self._options = replace(options or TrainingOptions(), holdout=0.0)

    def fit(self, train_rows: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """Trains on the first; nothing is picked on the validation rows."""
        self.model = learned(train_rows, tiers, self._options)

    def predict(self, episodes: Episodes) -> Array:
        """How right each tier is believed to be."""
        return np.array([self.model.belief(self.model.prior(e.context), ()).right for e in episodes])

    def expected_usd(self, episodes: Episodes) -> Array:
        """What each tier is expected to cost."""
        return np.array([self.model.belief(self.model.prior(e.context), ()).usd for e in episodes])


def learned(episodes: Episodes, tiers: Sequence[str], options: TrainingOptions | None = None) -> RouterModel:
    """A model of those episodes."""
    return train(episodes, tiers, options=options or TrainingOptions(holdout=0.0))
