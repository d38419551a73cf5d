"""The gate to promotion: a candidate beside the router in use, on the same episodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from stellwerk.errors import InputError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.offline import Estimate, Evaluation, Logs, evaluate, interval
from stellwerk.routers.policy import Policy
from stellwerk.routers.replay_table import PROVING, groups_of


@dataclass(frozen=True, slots=True)
class Contender:
    """A model with the policy that acts on it. `Policy(price=0.0, cascade_only=True)` is smallest first."""

    model: Believes
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A candidate beside the current router.

    Args:
        promote: whether the candidate is no worse by more than the margin, and cheaper, both proven.
        why: one sentence for a person.
        right: by how much more often the candidate serves a right answer, with a paired interval.
        usd: by how much more it costs a subtask, likewise; below 0 where it is cheaper.
        margin: by how much its quality may be lower.
        candidate: it by itself.
        current: the other by itself.
    """

    promote: bool
    why: str
    right: Estimate
    usd: Estimate
    margin: float
    candidate: Evaluation
    current: Evaluation


def compare(
    candidate: Contender,
    current: Contender,
    episodes: Sequence[Episode],
    *,
    margin: float = 0.02,
    confidence: float = 0.95,
    sources: Collection[str] = PROVING,
) -> Comparison:
    """Whether a candidate may take the place of the current router.

    Doubly robust values of both, episode by episode: what is hard for both then cancels out. Each bound of
    the intervals holds at the confidence by itself, so the candidate is promoted in error with a chance of at
    most one less the confidence, as far as intervals from means and deviations hold. These see no harm that
    is in none of the episodes, so there have to be enough that harm beyond the margin would be in one of
    them: 149 for a margin of .02 at 95 %.

    Args:
        candidate: to be promoted.
        current: in use.
        episodes: on which neither was trained, logged or complete.
        margin: by how much less often the candidate may be right, from 0 to 1.
        confidence: of each bound, between .5 and 1.
        sources: labels of other sources count as missing.

    Raises:
        InputError: the margin is negative, or as `evaluate`.
    """
    if not 0 <= margin <= 1:
        raise InputError(f"a margin is a share of answers from 0 to 1, not {margin}")
    both = 2 * confidence - 1
    alone = [
        evaluate(c.model, c.policy, episodes, confidence=both, sources=sources) for c in (candidate, current)
    ]
    new, old = (Logs(c.model, c.policy, episodes, sources) for c in (candidate, current))
    group = groups_of(episodes)
    right = interval(new.dr_right - old.dr_right, group, both)
    usd = interval(new.dr_usd - old.dr_usd, group, both)
    worse, dearer = not right.low >= -margin, not usd.high < 0
    units = min(*(evaluation.effective for evaluation in alone), float(len(np.unique(group))))
    unseen = 1 - (1 - confidence) ** (1 / units) if units else 1.0
    blind = next((evaluation.why for evaluation in alone if not evaluation.covered), None)
    if blind is not None:
        why = f"not promoted: {blind}"
    elif worse:
        why = f"not promoted: right {right.low:+.3f} at worst, and the margin is {margin:.3f}"
    elif unseen > margin:
        why = (
            f"not promoted: {units:.0f} subtasks that go as both would may hide that it is wrong in"
            f" {unseen:.3f} more, and the margin is {margin:.3f}"
        )
    elif dearer:
        why = f"not promoted: it may cost {usd.high:+.4g} USD a subtask more than the current router"
    else:
        why = (
            f"promoted: right {right.low:+.3f} at worst, the margin is {margin:.3f}, and cheaper by"
            f" {-usd.high:.4g} USD a subtask at least"
        )
    return Comparison(
        promote=blind is None and not worse and unseen <= margin and not dearer,
        why=why,
        right=right,
        usd=usd,
        margin=margin,
        candidate=alone[0],
        current=alone[1],
    )
