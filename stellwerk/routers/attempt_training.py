"""Trains what attempts tell: of the answers in hand, and of the tiers not yet tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from stellwerk.routers.answers import answer_odds
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.logistic import Array, fit, softened
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.prior import Prior
from stellwerk.routers.signals import OUTSIDE, answer_signals, answer_start, next_columns, next_signals
from stellwerk.routers.targets import Trust

_PULL_ANSWER = 1.0  # how strongly coefficients are drawn to the prior's word
_PULL_NEXT = 2.0
_CASES = 20_000
_HISTORIES = 6  # per complete episode

History = tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """Coefficients per tier; see `RouterModel`."""

    answer: Array
    next_right: Array
    next_accept: Array


def learn_attempts(
    episodes: Sequence[Episode],
    priors: Sequence[Prior],
    tiers: Sequence[str],
    trusted: Sequence[Trust],
    options: TrainingOptions,
    seed: int,
) -> Followed:
    """What attempts tell.

    Args:
        episodes: to learn from.
        priors: of each, by a model that was not fitted on it.
        tiers: names, cheapest first.
        trusted: how rightness is told, one a tier.
        options: of the training.
        seed: of the histories that are drawn.
    """
    draw = np.random.default_rng([seed, 3])
    order = draw.permutation(len(episodes))[:_CASES]
    cases = [
        (priors[index], past, following, _weight(episodes[index], past, following, options))
        for index in order.tolist()
        for past, following in _histories(episodes[index], tiers, draw)
    ]
    place = {tier: index for index, tier in enumerate(tiers)}
    answer = _answers(cases, tiers, place, trusted)
    right, accept = _next(cases, tiers, place, trusted, answer)
    return Followed(answer, right, accept)


Case = tuple[Prior, History, Outcome | None, float]


def _histories(
    episode: Episode, tiers: Sequence[str], draw: np.random.Generator
) -> Iterator[tuple[History, Outcome | None]]:
    """Attempts so far, and the one that came next if any.

    Of a complete episode any attempts may have been the ones so far; of another those that were.
    """
    known = tuple(outcome for outcome in episode.outcomes if outcome.tier in tiers)
    if not episode.complete:
        for size in range(1, len(known) + 1):
            yield known[:size], known[size] if size < len(known) else None
        return
    subsets = [subset for size in range(1, len(known) + 1) for subset in combinations(known, size)]
    if len(subsets) > _HISTORIES:
        subsets = [subsets[index] for index in sorted(draw.choice(len(subsets), _HISTORIES, replace=False))]
    for past in subsets:
        rest = [outcome for outcome in known if outcome not in past]
        yield past, rest[int(draw.integers(len(rest)))] if rest else None


def _weight(episode: Episode, past: History, following: Outcome | None, options: TrainingOptions) -> float:
    """1 / propensity of what came next: given the past, nothing else was the router's choice."""
    if episode.complete or following is None:
        return 1.0
    return min(1 / following.propensity, options.clip)


def _answers(
    cases: Sequence[Case],
    tiers: Sequence[str],
    place: dict[str, int],
    trusted: Sequence[Trust],
) -> Array:
    start = np.asarray(answer_start(tiers))
    rows: list[list[list[float]]] = [[] for _ in tiers]
    aims: list[list[tuple[float, float]]] = [[] for _ in tiers]
    for prior, past, _, _ in cases:
        places = [place[outcome.tier] for outcome in past]
        for index, outcome in enumerate(past):
            if not outcome.accepted:
                continue
            tier = places[index]
            value, weight = trusted[tier].rightness(outcome)
            if weight > 0:
                rows[tier].append(answer_signals(prior, places, past, index))
                aims[tier].append((value, weight / _HISTORIES if len(past) > 1 else weight))
    return np.stack([_fitted(rows[tier], aims[tier], start, _PULL_ANSWER) for tier in range(len(tiers))])


def _next(
    cases: Sequence[Case],
    tiers: Sequence[str],
    place: dict[str, int],
    trusted: Sequence[Trust],
    answer: Array,
) -> tuple[Array, Array]:
    width = len(next_columns(tiers))
    start = np.zeros(width)
    start[1] = 1.0
    rows: list[list[list[float]]] = [[] for _ in tiers]
    accept_rows: list[list[list[float]]] = [[] for _ in tiers]
    right: list[list[tuple[float, float]]] = [[] for _ in tiers]
    accept: list[list[tuple[float, float]]] = [[] for _ in tiers]
    for prior, past, following, inverse in cases:
        if following is None or following.reason in OUTSIDE:
            continue
        tier = place[following.tier]
        places = [place[outcome.tier] for outcome in past]
        if tier in places:
            continue
        odds = answer_odds(answer, prior, places, past)
        value, weight = trusted[tier].rightness(following)
        row = next_signals(prior, prior.right[tier], tier, places, past, odds)
        rows[tier].append(row)
        right[tier].append((value, weight * inverse))
        other = list(row)
        other[1] = prior.accept[tier]
        accept_rows[tier].append(other)
        accept[tier].append((float(following.accepted), inverse))
    every = range(len(tiers))
    return (
        np.stack([_fitted(rows[tier], right[tier], start, _PULL_NEXT) for tier in every]),
        np.stack([_fitted(accept_rows[tier], accept[tier], start, _PULL_NEXT) for tier in every]),
    )


def _fitted(
    rows: Sequence[Sequence[float]], aims: Sequence[tuple[float, float]], start: Array, pull: float
) -> Array:
    if not rows:
        return start
    values, weights = np.asarray(aims, np.float64).T
    return fit(
        np.asarray(rows), softened(values, weights), weights, start=start, ridge=np.full(len(start), pull)
    )
