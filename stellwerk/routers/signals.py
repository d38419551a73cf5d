"""Signals: what attempts tell about the answers in hand, and about the tiers not yet tried.

Each function gives one row for a logistic regression; the columns are named by its sibling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stellwerk.outcome import Reason
from stellwerk.routers.episode import Outcome
from stellwerk.routers.prior import Prior

_FORM = {Reason.NOT_JSON, Reason.SCHEMA, Reason.ECHO, Reason.LENGTH, Reason.REPETITION, Reason.EMPTY}
_GIVEN_UP = {Reason.REFUSAL, Reason.UNKNOWN}
OUTSIDE = frozenset({Reason.TIER, Reason.UNAVAILABLE, Reason.TIMEOUT, Reason.WORKER})
"""Rejections that say nothing of how hard the subtask is."""

_SLACK = 0.005
_INDEPENDENT = 0.5


def answer_columns(tiers: Sequence[str]) -> list[str]:
    """Names of the columns of `answer_signals`; the second is the prior."""
    own = ["", "prior", "priors of the others", "more than one call", "length", "length off"]
    own += ["log-probabilities known", "mean log-probability", "least log-probability", "entropy"]
    own += ["support", "doubt", "agreement", "others agree without it"]
    return own + [f"{tier} {what}" for what in ("agrees", "differs", "was rejected") for tier in tiers]


def answer_start(tiers: Sequence[str]) -> list[float]:
    """Coefficients of `answer_signals` before anything is learned: the prior, and half of what others say.

    Were mistakes independent of each other, the agreement of a tier that is right with probability p would
    add its log odds, and a difference log(1 - p). Models make the same mistakes more often than that.
    """
    columns = answer_columns(tiers)
    start = [0.0] * len(columns)
    start[columns.index("prior")] = 1.0
    start[columns.index("support")] = start[columns.index("doubt")] = _INDEPENDENT
    return start


def answer_signals(
    prior: Prior, places: Sequence[int], outcomes: Sequence[Outcome], this: int
) -> list[float]:
    """About one accepted answer.

    Args:
        prior: of the subtask.
        places: of each attempt's tier in the ladder.
        outcomes: of all attempts so far.
        this: the place of the answer among them.
    """
    tiers = len(prior.right)
    place, outcome = places[this], outcomes[this]
    expected = _right_if_accepted(prior, place)
    agrees, differs, rejected = [0.0] * tiers, [0.0] * tiers, [0.0] * tiers
    support = doubt = 0.0
    others: list[str] = []
    for other, attempt in enumerate(outcomes):
        if other == this:
            continue
        if not attempt.accepted:
            rejected[places[other]] = float(attempt.reason not in OUTSIDE)
        elif outcome.answer and attempt.answer:
            same = attempt.answer == outcome.answer
            agrees[places[other]], differs[places[other]] = float(same), float(not same)
            odds = _right_if_accepted(prior, places[other])
            if same:
                support += odds
            else:
                doubt -= math.log1p(math.exp(odds))  # log(1 - p)
                others.append(attempt.answer)
    known = sum(agrees) + sum(differs)
    length = 0.0
    if outcome.output > 0 and prior.tokens[place] > 0:
        length = max(-2.0, min(2.0, math.log(outcome.output / prior.tokens[place])))
    logprobs = outcome.logprobs or {}
    return [
        1.0,
        expected,
        _others(prior, place),
        float(outcome.calls > 1),
        length,
        abs(length),
        float("mean" in logprobs),
        _log(logprobs, "mean", -1),
        _log(logprobs, "min", -1),
        _log(logprobs, "entropy", 1),
        support,
        doubt,
        (sum(agrees) - sum(differs)) / known if known else 0.0,
        float(len(others) > len(set(others))),
        *agrees,
        *differs,
        *rejected,
    ]


def next_columns(tiers: Sequence[str]) -> list[str]:
    """Names of the columns of `next_signals`; the second is the prior."""
    own = ["", "prior", "priors of the others", "answers agree", "answers differ"]
    own += ["wrong form", "a check", "gave up", "too large"]
    return own + [f"{tier} {what}" for what in ("was rejected", "was accepted", "answer") for tier in tiers]


def next_signals(
    prior: Prior,
    expected: float,
    place: int,
    places: Sequence[int],
    outcomes: Sequence[Outcome],
    answers: Sequence[float],
) -> list[float]:
    """About a tier that has not been tried, after at least one attempt elsewhere.

    Args:
        prior: of the subtask.
        expected: log odds of what is asked for this tier, by the prior.
        place: of the tier in the ladder.
        places: of each attempt's tier.
        outcomes: of all attempts so far.
        answers: per attempt, log odds that its answer is right.
    """
    tiers = len(prior.right)
    rejected, accepted, surprise = [0.0] * tiers, [0.0] * tiers, [0.0] * tiers
    said: list[str] = []
    reason = ""
    for index, attempt in enumerate(outcomes):
        at = places[index]
        if attempt.accepted:
            accepted[at] = 1.0
            surprise[at] = answers[index] - _right_if_accepted(prior, at)
            if attempt.answer:
                said.append(attempt.answer)
        elif attempt.reason not in OUTSIDE:
            rejected[at] = 1.0
            reason = attempt.reason or ""
    return [
        1.0,
        expected,
        _others(prior, place),
        float(len(set(said)) < len(said)),
        float(len(set(said)) > 1),
        float(reason in _FORM),
        float(reason == Reason.CHECK),
        float(reason in _GIVEN_UP),
        float(reason == Reason.CONTEXT),
        *rejected,
        *accepted,
        *surprise,
    ]


def _right_if_accepted(prior: Prior, place: int) -> float:
    """Log odds that an answer is right, once the checks have taken it."""
    right = 1 / (1 + math.exp(-prior.right[place]))
    accept = 1 / (1 + math.exp(-prior.accept[place]))
    # Both are estimates, so that a ratio near 1 is not to be taken at its word.
    chance = (right + _SLACK) / (max(right, accept) + 2 * _SLACK)
    return math.log(chance / (1 - chance))


def _others(prior: Prior, place: int) -> float:
    rest = [logit for other, logit in enumerate(prior.right) if other != place]
    return sum(rest) / len(rest) - prior.right[place] if rest else 0.0


def _log(logprobs: Mapping[str, float], name: str, sign: int) -> float:
    """A nearly normal figure of one that crowds at 0; 0.0 where it is not known."""
    value = logprobs.get(name)
    return 0.0 if value is None else math.log(max(sign * value, 0.0) + 0.01)
