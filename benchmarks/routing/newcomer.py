"""One user's 500 traces: is a router that learned from them ever worse than the one that made them?

The log is smallest first, with one decision in ten drawn among the tiers not yet tried. The corpora say which
answers are right, not what a worker's checks would have said: here a check catches half of the wrong answers,
by a draw that is the same for all routers, and never refuses a right one.

Of the traces 400 train, with the part of them that the model keeps back for its budget; on the other 100 it
is compared with smallest first, as before a promotion.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.routing.corpus import Corpus
from benchmarks.routing.splits import Unit, random_split
from benchmarks.statistics import paired_interval
from stellwerk.routers.comparison import Contender, compare
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.goal import CostBudget
from stellwerk.routers.learned import LearnedRouter
from stellwerk.routers.policy import Policy
from stellwerk.routers.replay_table import replay_table
from stellwerk.routers.training import train

Figures = dict[str, Any]
TRACES, JUDGING = 500, 100
EXPLORE = 0.1
CAUGHT = 0.5


def newcomer(corpus: Corpus, unit: Unit, seed: int) -> Figures:
    """What a router with the log's own budget reaches on fresh rows, beside smallest first on the same rows.

    Returns:
        `promoted`, whether the comparison before a promotion would let it serve, and `why`; `right` and
        `cost` of both, and of their differences the paired 95% interval over episodes; costs are shares of
        what smallest first costs. `equal_cost` is the difference in rightness from smallest first mixed by
        lot with always the largest tier, such that it costs as much.
    """
    checked = [_checked(episode) for episode in corpus.episodes]
    split = random_split(checked, (TRACES, 1), unit, seed)
    draw = random.Random(seed)
    logged = [_logged(episode, corpus.tiers, draw) for episode in split.train[:TRACES]]
    model = train(logged[JUDGING:], corpus.tiers, seed=seed)
    spent = [sum(outcome.usd for outcome in _smallest_first(e, corpus.tiers)) for e in split.train[:TRACES]]
    router = LearnedRouter(model, CostBudget(usd=sum(spent) / len(spent)), seed=seed)
    assert isinstance(router.policy, Policy)
    gate = compare(
        Contender(model, router.policy),
        Contender(model, Policy(price=0.0, cascade_only=True)),
        logged[:JUDGING],
    )
    test = split.test
    table = replay_table([router.policy], model, test)
    base = [_smallest_first(episode, corpus.tiers) for episode in test]
    ours_right, ours_usd = table.right[0].tolist(), table.usd[0].tolist()
    base_right = [_served(outcomes) for outcomes in base]
    base_usd = [sum(outcome.usd for outcome in outcomes) for outcomes in base]
    mean = sum(base_usd) / len(base_usd)
    large = [episode.outcome(corpus.tiers[-1]) for episode in test]
    large_right = sum(_served([outcome]) for outcome in large if outcome is not None) / len(test)
    large_usd = sum(outcome.usd for outcome in large if outcome is not None) / len(test)
    slope = max(0.0, large_right - sum(base_right) / len(test)) / (large_usd - mean)
    clusters = [unit(episode) for episode in test]

    def difference(ours: list[float], theirs: list[float], scale: float) -> list[float]:
        found = paired_interval(ours, theirs, clusters=clusters, seed=seed, resamples=1_000)
        return [found.estimate / scale, found.low / scale, found.high / scale]

    return {
        "promoted": gate.promote,
        "why": gate.why,
        "right": [sum(ours_right) / len(test), sum(base_right) / len(test)],
        "cost": [sum(ours_usd) / len(test) / mean, 1.0],
        "right_difference": difference(ours_right, base_right, 1.0),
        "cost_difference": difference(ours_usd, base_usd, mean),
        "equal_cost": difference(
            ours_right,
            [r + slope * (paid - usd) for r, paid, usd in zip(base_right, ours_usd, base_usd, strict=True)],
            1.0,
        ),
    }


def _checked(episode: Episode) -> Episode:
    """The episode with a check's verdicts: some of the wrong answers are refused."""
    draw = random.Random(episode.id)
    outcomes = []
    for outcome in episode.outcomes:
        assert outcome.label is not None
        caught = draw.random() < CAUGHT * (1 - outcome.label.right)
        outcomes.append(replace(outcome, accepted=False, reason="check") if caught else outcome)
    return replace(episode, outcomes=tuple(outcomes))


def _smallest_first(episode: Episode, tiers: Sequence[str]) -> list[Outcome]:
    """Up the ladder until an answer is accepted."""
    tried = []
    for tier in tiers:
        outcome = episode.outcome(tier)
        assert outcome is not None
        tried.append(outcome)
        if outcome.accepted:
            break
    return tried


def _logged(episode: Episode, tiers: Sequence[str], draw: random.Random) -> Episode:
    """What the log holds of an episode: attempts as made, with their propensities."""
    tried: list[Outcome] = []
    left = list(tiers)
    while left and not (tried and tried[-1].accepted):
        above = [tier for tier in left if not tried or tiers.index(tier) > tiers.index(tried[-1].tier)]
        due = above[0] if above else left[0]
        tier = draw.choice(left) if draw.random() < EXPLORE else due
        outcome = episode.outcome(tier)
        assert outcome is not None
        share = EXPLORE / len(left) + (1 - EXPLORE if tier == due else 0.0)
        tried.append(replace(outcome, propensity=share))
        left.remove(tier)
    return replace(episode, outcomes=tuple(tried), complete=False)


def _served(outcomes: Sequence[Outcome]) -> float:
    last = outcomes[-1]
    return last.label.right if last.accepted and last.label is not None else 0.0


def worse(figures: Figures) -> bool:
    """Whether it is right less often than smallest first at the same cost, beyond the noise of the rows."""
    return bool(figures["equal_cost"][2] < 0)
