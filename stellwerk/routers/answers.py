"""How far each answer in hand is believed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stellwerk.routers.episode import Outcome
from stellwerk.routers.logistic import Array
from stellwerk.routers.prior import Prior
from stellwerk.routers.signals import answer_signals


def answer_odds(
    coefficients: Array, prior: Prior, places: Sequence[int], outcomes: Sequence[Outcome]
) -> list[float]:
    """Log odds that each answer is right; minus infinity for one that was rejected.

    What two tiers say alike is right or wrong for both, so it gets the mean of what is believed of either.

    Args:
        coefficients: of `answer_signals`, one row a tier.
        prior: of the subtask.
        places: of each attempt's tier.
        outcomes: of all attempts so far.
    """
    odds = [
        float(coefficients[places[index]] @ np.asarray(answer_signals(prior, places, outcomes, index)))
        if outcome.accepted
        else -math.inf
        for index, outcome in enumerate(outcomes)
    ]
    said: dict[str, list[int]] = {}
    for index, outcome in enumerate(outcomes):
        if outcome.accepted and outcome.answer:
            said.setdefault(outcome.answer, []).append(index)
    for alike in said.values():
        mean = sum(odds[index] for index in alike) / len(alike)
        for index in alike:
            odds[index] = mean
    return odds
