"""Whether a quality floor holds: calibration and test rows are drawn anew 1,000 times, the model stays.

Two measures of a violation. `below` compares the floor with the test half that is left, whose mean is itself
a draw; `violated` draws the calibration rows with replacement and compares with all rows, which are then the
population that the floor speaks of: its share must not exceed 1 - confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.routing.corpus import Corpus
from benchmarks.routing.ours import learned
from benchmarks.routing.splits import by_text, random_split
from benchmarks.statistics import share_interval
from stellwerk.errors import FloorError
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.replay_table import ReplayTable, replay_table

Figures = dict[str, Any]
RESPLITS = 1_000
FLOORS = {"GSM8K": (0.70, 0.75, 0.80), "BFCL 1:10:55": (0.75, 0.80, 0.85)}
_TRAIN = 0.4


def resplits(
    corpus: Corpus, floors: Sequence[float], *, draws: int = RESPLITS, seed: int = 0
) -> dict[str, Figures]:
    """Per floor: shares of re-splits that break it, coverage, cost, and what the proof costs.

    Rows stand by themselves here, whatever their groups: re-splits are by row, so that calibration and test
    rows are alike by construction.
    """
    rows = [replace(episode, group="") for episode in corpus.episodes]
    share = round(_TRAIN * len(rows))
    split = random_split(rows, (share, 1), by_text, seed)
    model = learned(split.train, corpus.tiers)
    pool = (*split.validation, *split.test)
    goal = QualityFloor(floor=floors[0])
    table = replay_table(goal.policies(model, pool), model, pool)
    return {f"{floor:.2f}": resplit(table, replace(goal, floor=floor), draws, seed) for floor in floors}


def resplit(table: ReplayTable, goal: QualityFloor, draws: int, seed: int) -> Figures:
    """Of one floor: shares of re-splits that break it, coverage, cost, and what the proof costs."""
    draw = np.random.default_rng(seed)
    count = len(table)
    below = violated = 0
    coverage, cost, unproven, largest, reached = [], [], [], [], []
    met = 0
    for _ in range(draws):
        order = draw.permutation(count)
        rest = table.take(order[count // 2 :])
        row = _picked(goal, table.take(order[: count // 2]))
        if row is not None:
            met += 1
            below += rest.rightness_of(row) < goal.floor
            coverage.append(rest.coverage_of(row))
            reached.append(rest.rightness_of(row))
            cost.append(rest.usd_of(row))
            largest.append(rest.usd_of(0))
            unproven.append(_cheapest(rest, goal.floor))
        row = _picked(goal, table.take(draw.integers(count, size=count // 2)))
        violated += row is not None and table.rightness_of(row) < goal.floor
    return {
        "rows": count // 2,
        "proven": met / draws,
        "below": _share(below, draws),
        "violated": _share(violated, draws),
        "coverage": float(np.mean(coverage)),
        "right": float(np.mean(reached)),
        "cost": float(np.sum(cost) / np.sum(largest)),
        "unproven": float(np.sum(unproven) / np.sum(largest)),
    }


def _picked(goal: QualityFloor, table: ReplayTable) -> int | None:
    """The policy that the goal picks, or None where it proves nothing and so promises nothing."""
    try:
        found = goal.pick(table)
    except FloorError:
        return None
    return found.row if found.evidence.met else None


def _cheapest(table: ReplayTable, floor: float) -> float:
    """What it costs to reach the floor on just these rows, for who could look."""
    fair = [table.usd_of(row) for row in range(len(table.policies)) if table.rightness_of(row) >= floor]
    return min(fair, default=table.usd_of(0))


def _share(hits: int, count: int) -> list[float]:
    found = share_interval(hits, count)
    return [found.estimate, found.low, found.high]
