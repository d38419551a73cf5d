"""Whether a quality floor holds on traces of this machine: calibration rows are drawn anew 1,000 times.

The model is trained on what was drawn and on all rows that ran on every tier to be learned from; the held-out
rows are halved anew each time, as in `benchmarks.routing.resplits`, where the measures are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.routing.resplits import RESPLITS, resplit
from benchmarks.routing_local.evaluate import split
from benchmarks.routing_local.jobs import Job
from benchmarks.routing_local.records import Record
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.replay_table import replay_table
from stellwerk.routers.training import train

FLOORS = (0.50, 0.55, 0.60)
"""Between what the middle tier and the large one reach on rows to learn from."""


def floors(
    records: Sequence[Record],
    blocks: Sequence[Sequence[Job]],
    tiers: Sequence[str],
    *,
    draws: int = RESPLITS,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Per floor, what its re-splits came to.

    Raises:
        InputError: there are too few records to train on.
    """
    training, held = split(records, blocks, tiers)
    episodes = [case.episode for case in training]
    model = train(episodes, tiers, options=TrainingOptions(holdout=0.0), seed=seed)
    pool = [replace(case.episode, group="") for case in held]
    goal = QualityFloor(floor=FLOORS[0])
    table = replay_table(goal.policies(model, pool), model, pool)
    return {f"{floor:.2f}": resplit(table, replace(goal, floor=floor), draws, seed) for floor in FLOORS}
