"""Betting against a null hypothesis: whoever gets rich on fair terms has shown that they are not fair.

Waudby-Smith and Ramdas, 'Estimating means of bounded random variables by betting', 2024 (arXiv 2010.09686).
Exact at every number of values, and sharp where they vary little, as paired differences do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stellwerk.errors import InputError

_STAKE = 0.9
"""Share of the capital that a bet may lose: 1 would be broke after the first value at the bottom."""

_BEFORE = 1.0
"""How many values the guess counts for that is made before the first."""


def positive_p_value(values: NDArray[np.float64], low: float, level: float = 0.05) -> float:
    """The p-value of 'the mean is 0 or less'.

    Args:
        values: independent or exchangeable, in an order that has nothing to do with them; none below `low`.
        low: what a value cannot be lower than, known before; below 0.
        level: at which the p-value is most likely to be wanted; it is valid at any.

    Returns:
        One over the most that was ever won, by Ville's inequality.

    Raises:
        InputError: `low` is not below 0, or a value is below it.
    """
    if not low < 0 or (len(values) and values.min() < low - 1e-12):
        raise InputError(f"values of a bet have a lower limit below 0, and none is below it; limit {low}")
    if not len(values):
        return 1.0
    won = np.cumsum(np.log1p(_bets(values, low, level) * values))
    return float(np.exp(-max(0.0, won.max())))


def positive_lower_bound(values: NDArray[np.float64], low: float, level: float = 0.05) -> float:
    """What the mean is above, but for a chance of `level`: the last value that the p-value rejects."""
    floor, high = low, float(values.mean()) if len(values) else low
    for _ in range(40):
        middle = (floor + high) / 2
        proven = middle > low and positive_p_value(values - middle, low - middle, level) <= level
        floor, high = (middle, high) if proven else (floor, middle)
    return floor


def _bets(values: NDArray[np.float64], low: float, level: float) -> NDArray[np.float64]:
    """Each bet is set by the spread of the values before it, to have grown most at the last (eq. 15)."""
    number = np.arange(1, len(values) + 1)
    means = np.cumsum(values) / (number + _BEFORE)
    # Before anything is seen, values count as spread over a quarter of the range.
    spread = (np.cumsum((values - means) ** 2) + _BEFORE * (low / 4) ** 2) / (number + _BEFORE)
    before = np.concatenate(([(low / 4) ** 2], spread[:-1]))
    bets = np.sqrt(2 * np.log(1 / level) / (len(values) * before))
    return np.asarray(np.minimum(bets, _STAKE / -low))
