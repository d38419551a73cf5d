"""Offline evaluation: how a policy would have done on what another router has logged.

Each attempt of an episode was logged with the propensity with which it was picked there. Episodes whose
attempts the policy would have made too count one over the product of these. To stop needs no propensity: what
an answer in hand is worth shows in its label, whether the log went on from it or not.

- IPS, inverse propensity scoring: the weighted values, over the number of episodes. Unbiased.
- SNIPS, self-normalised (Swaminathan and Joachims 2015): over the sum of the weights. Steadier.
- DR, doubly robust for several steps (Jiang and Li 2016, arXiv 1511.03722): what the model expects, corrected
  by what came of each attempt. Unbiased whatever the model believes, and the better it does, the steadier.

Where only some of the served answers have a label, these stand for all of them: each counts one over the
share that has one. To leave out the others would not do, as episodes that went another way, or without an
answer, need no label and would outnumber them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.errors import InputError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.policy import Policy
from stellwerk.routers.replay import Player, Replay
from stellwerk.routers.replay_table import FEWEST, MOST_LOST, PROVING, groups_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean between its confidence bounds, in the unit of the values; NaN where it cannot be told."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A policy on logged or complete episodes.

    Intervals are two-sided: mean and standard error over groups of episodes, with Student's t. They hold a
    little less often than they say where few episodes carry much weight or cost; doubly robust ones least so.

    Args:
        covered: whether the episodes tell how the policy does.
        why: one sentence for a person.
        right: per method (`ips`, `snips`, `dr`), the share of subtasks with a right answer served.
        usd: likewise, the cost of a subtask in USD.
        episodes: how many there are.
        matching: how many were just what the policy would have done.
        effective: effective sample size after Kish: so many unweighted episodes would say as much.
        overlap: mean weight; near 1.0 where the log had every way that the policy goes.
        lost: share of episodes in which the policy does what the log never did.
        unlabelled: matching episodes of which nobody says whether the answer is right.
    """

    covered: bool
    why: str
    right: dict[str, Estimate]
    usd: dict[str, Estimate]
    episodes: int
    matching: int
    effective: float
    overlap: float
    lost: float
    unlabelled: int


def evaluate(
    model: Believes,
    policy: Policy,
    episodes: Sequence[Episode],
    *,
    confidence: float = 0.95,
    sources: Collection[str] = PROVING,
) -> Evaluation:
    """How a policy would have done.

    Served answers without a label are taken to be right as often as those with one, as if labels were missing
    by chance. What they cost counts.

    Args:
        model: forms the beliefs; not trained on the episodes.
        policy: to be judged.
        episodes: logged with propensities, or complete.
        confidence: of the intervals, between 0 and 1.
        sources: labels of other sources count as missing.

    Raises:
        InputError: there are fewer than two groups of episodes that tell.
    """
    logs = Logs(model, policy, episodes, sources)
    group = groups_of(episodes)
    told = int(logs.told.sum())
    if len(np.unique(group[logs.told])) < 2:
        raise InputError(
            f"an evaluation needs labelled answers of two runs or more; {told} labelled subtasks are left;"
            " label some with: stellwerk traces feedback"
        )
    lost = float(logs.lost.mean())
    weight = logs.weight[logs.told]
    effective = float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0
    covered, why = _verdict(lost, effective, len(episodes))
    return Evaluation(
        covered=covered,
        why=why,
        right={
            "ips": interval(logs.weight * logs.right, group, confidence),
            "snips": ratio_interval(logs.weight * logs.right, logs.weight, group, confidence),
            "dr": interval(logs.dr_right, group, confidence),
        },
        usd={
            "ips": interval(logs.weight * logs.usd, group, confidence),
            "snips": ratio_interval(logs.weight * logs.usd, logs.weight, group, confidence),
            "dr": interval(logs.dr_usd, group, confidence),
        },
        episodes=len(episodes),
        matching=int((logs.weight > 0).sum()),
        effective=effective,
        overlap=float(logs.weight.mean()),
        lost=lost,
        unlabelled=len(episodes) - told,
    )


class Logs:
    """A policy's replays as arrays over the episodes.

    `told` says of which episodes no label is missing. In `right` and `dr_right` labels stand for those that
    are missing: the mean of what they say counts for each served answer, and what sets a labelled one apart
    from it counts one over the share of labelled ones.
    """

    def __init__(
        self, model: Believes, policy: Policy, episodes: Sequence[Episode], sources: Collection[str]
    ) -> None:
        player = Player(model)
        replays = [player.play((policy,), episode)[0] for episode in episodes]
        served = np.array([replay.weight > 0.0 and replay.served is not None for replay in replays], bool)
        labelled = np.array([_labelled(replay, sources) for replay in replays], bool)
        self.told = ~served | labelled
        self.weight = np.array([replay.weight for replay in replays])
        self.lost = np.array([replay.lost for replay in replays])
        self.usd = np.array([replay.usd for replay in replays])
        right = np.array([(replay.right or 0.0) * replay.sure for replay in replays])
        believed = np.array([replay.believed for replay in replays])
        self.right = _for_all(right, self.weight, served, labelled)
        corrections = _for_all(right - believed, self.weight, served, labelled)
        expected = np.array([_expected(replay) for replay in replays]).reshape(len(replays), 2)
        self.dr_right = expected[:, 0] + self.weight * corrections
        self.dr_usd = expected[:, 1]


def _for_all(
    values: Floats, weight: Floats, served: NDArray[np.bool_], labelled: NDArray[np.bool_]
) -> Floats:
    """Values of the labelled answers, spread over all served ones; 0.0 where none is served."""
    known = float(weight[labelled].sum())
    if not served.any():
        return np.zeros_like(values)
    if not known:
        return np.where(served, math.nan, 0.0)
    mean = float((weight * values)[labelled].sum()) / known
    share = known / float(weight[served].sum())
    return np.where(served, mean + np.where(labelled, values - mean, 0.0) / share, 0.0)


def interval(values: Floats, group: NDArray[np.int64], confidence: float) -> Estimate:
    """The mean of the values; those of a group stand and fall together."""
    return ratio_interval(values, np.ones_like(values), group, confidence)


def ratio_interval(values: Floats, weights: Floats, group: NDArray[np.int64], confidence: float) -> Estimate:
    """The sum of the values over that of the weights, by linearisation over groups; NaN without weights."""
    if not weights.sum():
        return Estimate(math.nan, math.nan, math.nan)
    # Imported here, as decisions need no scipy.
    from scipy.stats import t

    mean = float(values.sum() / weights.sum())
    _, number = np.unique(group, return_inverse=True)
    residuals = np.bincount(number, weights=values - mean * weights)
    count = len(residuals)
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / float(weights.sum())
    reach = float(t.ppf(0.5 + confidence / 2, count - 1)) * error
    return Estimate(mean, mean - reach, mean + reach)


def _labelled(replay: Replay, sources: Collection[str]) -> bool:
    """Whether somebody says if the served answer is right."""
    return replay.weight > 0.0 and replay.served is not None and replay.known and replay.source in sources


def _expected(replay: Replay) -> tuple[float, float]:
    """What the model expected, corrected at each attempt by what it expects after it, and by its cost."""
    right, usd = replay.guess, replay.guess_usd
    for step in replay.steps:
        right += step.weight * step.right
        usd += step.weight * (step.usd + step.ahead)
    return right, usd


def _verdict(lost: float, effective: float, episodes: int) -> tuple[bool, str]:
    if lost > MOST_LOST:
        return False, (
            f"in {lost:.1%} of the subtasks the router tries a tier that was never tried there, so no"
            " number of them tells what comes of it; explore, or try all tiers on some subtasks"
        )
    if effective < FEWEST:
        return False, (
            f"the {episodes} subtasks say as much as {effective:.0f} that went as the router would have gone,"
            f" and intervals need {FEWEST:.0f}; collect more traces, label more, or explore more"
        )
    return (
        True,
        f"the {episodes} subtasks say as much as {effective:.0f} that went as the router would have gone",
    )
