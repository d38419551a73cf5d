"""What a number of labels proves: exact bounds on how often answers are right.

All are one-sided and hold at the given number of labels without large-sample approximations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stellwerk.errors import InputError


def at_least(successes: int, trials: int, rate: float) -> float:
    """The chance of that many successes or more, where each trial succeeds at the rate.

    This is the exact p-value of 'the rate is no higher than this'.

    Raises:
        InputError: the counts are no counts, or the rate is not from 0 to 1.
    """
    _require(successes, trials)
    if not 0 <= rate <= 1:
        raise InputError(f"a rate is from 0 to 1, not {rate}")
    if successes == 0:
        return 1.0
    return _incomplete_beta(successes, trials - successes + 1, rate)


def lower_bound(successes: int, trials: int, confidence: float) -> float:
    """The rate that so many successes prove, by Clopper and Pearson (Biometrika 26, 1934), one-sided.

    10 of 10 prove .74 at 95 %, 59 of 59 prove .95.

    Raises:
        InputError: the counts are no counts, or the confidence is not between 0 and 1.
    """
    _require(successes, trials, confidence)
    if successes == 0:
        return 0.0
    if successes == trials:
        return float((1.0 - confidence) ** (1.0 / trials))
    return _crossing(lambda rate: at_least(successes, trials, rate), 1.0 - confidence)


def upper_bound(successes: int, trials: int, confidence: float) -> float:
    """The rate that so many successes leave possible; see `lower_bound`."""
    _require(successes, trials, confidence)
    return 1.0 - lower_bound(trials - successes, trials, confidence)


def fractional_p_value(mean: float, trials: int, floor: float) -> float:
    """The p-value of 'the mean is no higher than the floor', for values anywhere from 0 to 1.

    Hoeffding-Bentkus (Bates et al. 2021, arXiv 2101.02703, and Angelopoulos et al. 2021, arXiv 2110.01052).

    Raises:
        InputError: there are no trials, or the mean or the floor is not from 0 to 1.
    """
    if trials < 1 or not 0 <= mean <= 1 or not 0 <= floor <= 1:
        raise InputError(f"a mean from 0 to 1 of 1 or more values, not {mean} of {trials}, floor {floor}")
    if mean <= floor:
        return 1.0
    wrong, allowed = 1.0 - mean, 1.0 - floor
    hoeffding = math.exp(-trials * _divergence(wrong, allowed))
    # The margin keeps a sum of fractions that is a whole number but for rounding from counting as the next.
    least_right = trials - math.ceil(trials * wrong - 1e-9)
    bentkus = math.e * at_least(least_right, trials, floor)
    return min(1.0, hoeffding, bentkus)


def fractional_lower_bound(mean: float, trials: int, confidence: float) -> float:
    """The mean that so many values from 0 to 1 prove; see `fractional_p_value`."""
    _require(0, trials, confidence)
    if mean <= 0.0:
        return 0.0
    return _crossing(lambda floor: fractional_p_value(mean, trials, floor), 1.0 - confidence, mean)


def labels_needed(floor: float, confidence: float, rate: float = 1.0, most: int = 1_000_000) -> int | None:
    """How many labels prove the floor, if right ones keep coming at the rate.

    Returns:
        The number; None where the rate is no higher than the floor, or it takes more than `most`.

    Raises:
        InputError: the floor or the confidence is not between 0 and 1.
    """
    _require(0, 1, confidence)
    if not 0 < floor < 1:
        raise InputError(f"a floor is between 0 and 1, not {floor}")

    def proves(trials: int) -> bool:
        return at_least(math.floor(trials * rate + 1e-9), trials, floor) <= 1.0 - confidence

    if rate <= floor:
        return None
    high = 1
    while not proves(high):
        high *= 2
        if high > most:
            return None
    low = high // 2
    # Whole numbers of right answers make the bound jump a little, so this is the number up to such a jump.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high


def _require(successes: int, trials: int, confidence: float = 0.5) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"{successes} successes in {trials} trials: a bound needs 1 trial or more")
    if not 0 < confidence < 1:
        raise InputError(f"a confidence is between 0 and 1, not {confidence}")


def _crossing(rising: Callable[[float], float], level: float, high: float = 1.0) -> float:
    """The last place, but for rounding, where a rising function is no higher than the level."""
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) <= level else (low, middle)
    return low


def _divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence of two coins, in nats."""
    if b in (0.0, 1.0):
        return 0.0 if a == b else math.inf
    left = a * math.log(a / b) if a > 0.0 else 0.0
    return left + ((1.0 - a) * math.log((1.0 - a) / (1.0 - b)) if a < 1.0 else 0.0)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).

    Evaluated with Lentz's method, where it converges fast: below the mean, and mirrored above it.
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0), tiny)
    fraction = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d, tiny)
            c = _away(1.0 + term / c, tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return min(1.0, math.exp(scale) * fraction / a)


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
