"""Train on what was collected, and replay what the router would have done on rows that it never saw.

Policies are set on training rows: on half of those that ran on every tier, which the model is not trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.routing_local.charge import Charges
from benchmarks.routing_local.compare import averaged, figures, mixed
from benchmarks.routing_local.jobs import Job
from benchmarks.routing_local.records import Record
from benchmarks.routing_local.replay import (
    Case,
    Policy,
    Result,
    Trip,
    by_worker,
    cases_of,
    only,
    replay,
    smallest_first,
)
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.folds import split as halved
from stellwerk.routers.goal import CostBudget, Goal, Solution
from stellwerk.routers.model import RouterModel
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.replay import Player
from stellwerk.routers.scoring import auc, brier, calibration_error
from stellwerk.routers.training import train
from stellwerk.tiers.ladder import Ladder

SET_ON = 0.5  # of the rows that ran on every tier, to set policies on
BUDGET = 0.45  # of what the large tier costs on training rows: held-out rows may cost a little more
NEAR = 0.05  # how far below the large tier a worker's own tier may be on training rows
FLOOR = 0.95  # of what the large tier reaches
BASE = "all-large"
LEARNED = "learned, within a budget"
FLOORED = "learned, with a floor"
LOTS = "lots at the cost of the learned"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model, and the solutions of the goals by the policy's name."""

    model: RouterModel
    solutions: Mapping[str, Solution]


def split(
    records: Iterable[Record], blocks: Sequence[Sequence[Job]], tiers: Sequence[str]
) -> tuple[list[Case], list[Case]]:
    """Cases to learn from, and those to report on, which have an outcome on every tier."""
    cases = cases_of(records, [job for block in blocks for job in block], tiers)
    held = [case for case in cases if case.part == "held-out" and case.episode.complete]
    return [case for case in cases if case.part != "held-out"], held


def learn(training: Sequence[Case], tiers: Sequence[str], seed: int) -> Trained:
    """A model of the training cases, and the policies that its goals give.

    Raises:
        InputError: there are too few cases.
    """
    drawn = [case.episode for case in training if not case.episode.complete]
    seen, unseen = halved([case.episode for case in training if case.episode.complete], SET_ON, seed)
    model = train([*drawn, *seen], tiers, options=TrainingOptions(holdout=0.0), seed=seed)
    large = [episode.outcomes[-1].usd for episode in unseen]
    goals: dict[str, Goal] = {
        LEARNED: CostBudget(usd=BUDGET * sum(large) / len(large)),
        FLOORED: QualityFloor(floor=FLOOR, relative=True),
    }
    return Trained(model=model, solutions={name: goal.solve(model, unseen) for name, goal in goals.items()})


def learned(model: RouterModel, solution: Solution) -> Policy:
    """What a learned router would do."""
    player = Player(model)

    def policy(case: Case) -> Trip:
        (played,) = player.play([solution.policy], case.episode)
        tiers = [model.tiers[place] for place in played.tiers]
        return Trip(tiers=tiers, served=None if played.served is None else tiers[played.served])

    return policy


def evaluate(
    records: Sequence[Record],
    blocks: Sequence[Sequence[Job]],
    ladder: Ladder,
    *,
    seeds: int = 5,
    resamples: int = 2_000,
) -> dict[str, Any]:
    """The figures of every policy on the held-out cases.

    Args:
        records: what was collected.
        blocks: the jobs behind the records.
        ladder: its prices.
        seeds: how many models are trained; figures of learned policies are means over them.
        resamples: of the intervals.

    Raises:
        InputError: there are too few cases to train on.
    """
    tiers = ladder.names
    training, held = split(records, blocks, tiers)
    charges = Charges(ladder, [(case.unit, one) for case in [*training, *held] for one in case.tries])
    fixed = {
        BASE: replay(only(tiers[-1]), held, charges),
        **{f"all on {tier}": replay(only(tier), held, charges) for tier in tiers[-2:0:-1]},
        "all-small": replay(only(tiers[0]), held, charges),
    }
    own = workers_tiers(training, tiers)
    results: dict[str, Sequence[Result]] = {
        **fixed,
        "smallest first": replay(smallest_first(tiers), held, charges),
        "a tier for each worker": replay(by_worker(own, tiers[-1]), held, charges),
    }
    qualities = []
    runs: dict[str, list[list[Result]]] = defaultdict(list)
    goals: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for seed in range(seeds):
        trained = learn(training, tiers, seed)
        qualities.append(quality(trained.model, held))
        for name, solution in trained.solutions.items():
            made = replay(learned(trained.model, solution), held, charges)
            runs[name].append(made)
            goals[name].append(
                {
                    "policy": solution.policy.record(),
                    "evidence": solution.evidence.record(),
                    "right": sum(one.right for one in made) / len(made),
                    "usd": sum(one.usd for one in made) / len(made),
                }
            )
    for name, each in runs.items():
        results[name] = averaged(each)
    spent = sum(one.usd for one in results[LEARNED]) / len(held)
    results[LOTS] = mixed(fixed, spent)
    return {
        "training": _counts(training),
        "held_out": _counts(held),
        "workers_tiers": own,
        "paces": {tier: [pace.prompt, pace.answer] for tier, pace in charges.paces.items()},
        "goals": goals,
        "quality": qualities,
        "figures": figures(results, held, BASE, resamples=resamples),
        "against_lots": figures(
            {LEARNED: results[LEARNED], LOTS: results[LOTS]}, held, LOTS, resamples=resamples
        ),
    }


def quality(model: RouterModel, held: Sequence[Case]) -> dict[str, dict[str, float | None]]:
    """How good the beliefs are, per tier: before an attempt, and of its answer where the checks took it."""
    found: dict[str, dict[str, float | None]] = {}
    priors = [model.prior(case.episode.context) for case in held]
    for place, tier in enumerate(model.tiers):
        before, after, right, taken = [], [], [], []
        for case, prior in zip(held, priors, strict=True):
            outcome = case.episode.outcomes[place]
            before.append(model.belief(prior, ()).right[place])
            right.append(case.tries[place].right)
            if outcome.accepted:
                after.append(model.belief(prior, [outcome]).answers[0])
                taken.append(case.tries[place].right)
        for when, chances, known in (("before", before, right), ("after", after, taken)):
            arrays = np.asarray(chances), np.asarray(known), np.ones(len(known))
            found[f"{tier}, {when}"] = {
                "n": len(known),
                "auc": auc(*arrays),
                "brier": brier(*arrays),
                "calibration_error": calibration_error(*arrays),
            }
    return found


def workers_tiers(training: Sequence[Case], tiers: Sequence[str]) -> dict[str, str]:
    """For each worker the cheapest tier that is about as often right as the large one, on training rows."""
    rights: dict[str, list[list[float]]] = defaultdict(list)
    for case in training:
        if case.episode.complete:
            rights[case.episode.context["worker"]].append([one.right for one in case.tries])
    found = {}
    for worker, rows in rights.items():
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        found[worker] = next(
            tier for tier, mean in zip(tiers, means, strict=True) if mean >= means[-1] - NEAR
        )
    return found


def _counts(cases: Sequence[Case]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        name = f"{case.track}, {'every tier' if case.episode.complete else 'drawn'}"
        counts[name] = counts.get(name, 0) + 1
    return counts
