"""Three tiers and real prices: how much of the largest tier's cost a router saves, at which quality."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.corpus import Array, Corpus, Episodes, right, usd
from benchmarks.routing.handed import Handed
from benchmarks.routing.method import Method
from benchmarks.routing.splits import Split, Unit
from stellwerk.routers.metrics import Point, capgr, ece, hull, save_at

Figures = dict[str, Any]
Tiers = NDArray[np.intp]
# What a wrong answer costs, in units of a call to the largest tier.
PRICES = (0.0, *np.geomspace(1e-3, 3e2, 80).tolist())
_CUTS = tuple(combinations_with_replacement(np.linspace(0, 1, 11).tolist(), 2))


def spend(corpus: Corpus, splits: Sequence[Split], unit: Unit, method: Method) -> Figures:
    """Operating points over all folds' test rows, one a setting, and what is read off them.

    Returns:
        `capgr` and `saving` on the hull of the test points, as these figures are defined; `points`, in USD
        and rightness; `held_saving` and `held_right`, what the setting that is the cheapest to reach the
        largest tier's quality on the validation rows saves on test rows, and its rightness there less the
        largest tier's; `ece`.
    """
    picked: list[Tiers] = []
    held: list[Tiers] = []
    rows: list[Episodes] = []
    predictions: list[Array] = []
    for split in splits:
        handed = Handed(split, unit)
        method.fit(handed.rows("train"), handed.rows("threshold"), corpus.tiers)
        settings = Settings(method, handed.rows("train"), handed.rows("threshold"), corpus.tiers)
        test = handed.rows("test")
        found = method.predict(test)
        choices = settings.choose(found)
        picked.append(choices)
        held.append(choices[settings.as_good])
        rows.append(test)
        predictions.append(found)
    episodes = [episode for part in rows for episode in part]
    known, costs = right(episodes, corpus.tiers), usd(episodes, corpus.tiers)
    points = operating_points(np.concatenate(picked, axis=1), known, costs)
    small, large = ends(known, costs)
    one = operating_points(np.concatenate(held)[None, :], known, costs)[0]
    figures: Figures = {
        "capgr": capgr(points, small, large),
        "saving": save_at(points, small, large),
        "held_saving": 1 - one.cost / large.cost,
        "held_right": one.quality - large.quality,
        "points": [[point.cost, point.quality] for point in hull([small, large, *points])],
    }
    stated = np.concatenate(predictions)
    if stated.ndim == 2:
        figures["ece"] = [ece(stated[:, tier], known[:, tier]) for tier in range(len(corpus.tiers))]
    return figures


class Settings:
    """All settings of a method; thresholds and the choice among settings come from validation rows.

    A method that predicts how right each tier is has a price of errors for a setting, and takes the tier with
    the least expected loss. One that says how hard a job is has a threshold below each larger tier.

    Args:
        method: fitted.
        train: rows that the mean cost of a tier is taken from.
        validation: rows that thresholds are set on.
        tiers: cheapest first.
    """

    def __init__(self, method: Method, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        self._costs = usd(train, tiers).mean(axis=0)
        found = method.predict(validation)
        if found.ndim == 1:
            self._thresholds = [np.quantile(found, cut) for cut in _CUTS]
        choices = self.choose(found)
        known, costs = right(validation, tiers), usd(validation, tiers)
        points = operating_points(choices, known, costs)
        _, large = ends(known, costs)
        good = [number for number, point in enumerate(points) if point.quality >= large.quality]
        self.as_good = min(good, key=lambda number: points[number].cost, default=len(points) - 1)

    def choose(self, prediction: Array) -> Tiers:
        """The tier of each episode at each setting; shape (settings, episodes)."""
        if prediction.ndim == 1:
            return np.array([(prediction[:, None] > cut[None, :]).sum(axis=1) for cut in self._thresholds])
        relative = self._costs / self._costs[-1]
        return np.array([(price * prediction - relative).argmax(axis=1) for price in PRICES])


def operating_points(choices: Tiers, known: Array, costs: Array) -> list[Point]:
    """Mean cost and rightness of each setting."""
    every = np.arange(len(known))
    return [Point(float(costs[every, one].mean()), float(known[every, one].mean())) for one in choices]


def ends(known: Array, costs: Array) -> tuple[Point, Point]:
    """Always the smallest tier, and always the largest."""
    small, large = (Point(float(costs[:, tier].mean()), float(known[:, tier].mean())) for tier in (0, -1))
    return small, large


def blind_mix(known: Array, costs: Array) -> list[Point]:
    """The points of always one tier; mixes of them by lot lie between."""
    return [Point(float(c), float(r)) for c, r in zip(costs.mean(axis=0), known.mean(axis=0), strict=True)]


def oracle(known: Array, costs: Array) -> list[Point]:
    """What would be reached by who knows all outcomes, at each price of errors."""
    unit = costs[:, -1].mean()
    choices = np.array([(price * known - costs / unit).argmax(axis=1) for price in PRICES])
    return operating_points(choices, known, costs)
