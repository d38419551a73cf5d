import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stellwerk.errors import InputError
from stellwerk.routers.betting import positive_lower_bound, positive_p_value
from stellwerk.routers.bounds import (
    at_least,
    fractional_lower_bound,
    fractional_p_value,
    labels_needed,
    lower_bound,
    upper_bound,
)

counts = st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(0.5, 0.999)


@given(counts, st.floats(0, 1))
def test_the_tail_is_scipys(count: tuple[int, int], rate: float) -> None:
    successes, trials = count
    assert at_least(successes, trials, rate) == pytest.approx(
        float(stats.binom.sf(successes - 1, trials, rate)), rel=1e-7, abs=1e-12
    )


@given(counts, levels)
def test_the_bound_is_clopper_and_pearsons(count: tuple[int, int], confidence: float) -> None:
    successes, trials = count
    exact = stats.beta.ppf(1 - confidence, successes, trials - successes + 1) if successes else 0.0
    assert lower_bound(successes, trials, confidence) == pytest.approx(float(exact), abs=1e-9)
    above = stats.beta.ppf(confidence, successes + 1, trials - successes) if successes < trials else 1.0
    assert upper_bound(successes, trials, confidence) == pytest.approx(float(above), abs=1e-9)


def test_ten_of_ten_prove_little_and_59_of_59_the_floor() -> None:
    assert lower_bound(10, 10, 0.95) == pytest.approx(0.741, abs=5e-4)
    assert lower_bound(58, 58, 0.95) < 0.95 < lower_bound(59, 59, 0.95)
    assert labels_needed(0.95, 0.95) == 59
    assert labels_needed(0.95, 0.95, rate=0.95) is None
    assert labels_needed(0.95, 0.95, rate=0.9501) is None


@given(st.floats(0.5, 0.97), st.floats(0.01, 0.5))
def test_so_many_labels_prove_the_floor_at_the_rate(floor: float, above: float) -> None:
    rate = min(1.0, floor + above * (1 - floor) + 0.01)
    needed = labels_needed(floor, 0.95, rate)
    assert needed is not None
    assert lower_bound(math.floor(needed * rate + 1e-9), needed, 0.95) >= floor - 1e-9


@given(counts, st.floats(0.01, 0.99))
def test_fractions_never_prove_more_than_coins(count: tuple[int, int], floor: float) -> None:
    successes, trials = count
    assert fractional_p_value(successes / trials, trials, floor) >= at_least(successes, trials, floor) - 1e-9


@given(st.floats(0, 1), st.integers(1, 2_000), levels)
def test_the_fractional_bound_is_where_its_p_value_turns(mean: float, trials: int, confidence: float) -> None:
    bound = fractional_lower_bound(mean, trials, confidence)
    assert 0 <= bound <= mean
    if bound > 1e-6:
        assert fractional_p_value(mean, trials, bound - 1e-7) <= 1 - confidence + 1e-9
    assert fractional_p_value(mean, trials, min(1.0, bound + 1e-6)) > 1 - confidence - 1e-6


@pytest.mark.parametrize("rate", [0.6, 0.95])
def test_fractional_bounds_hold_as_often_as_they_say(rate: float) -> None:
    draw = np.random.default_rng(1)
    missed = [
        fractional_lower_bound(float(draw.beta(4 * rate, 4 * (1 - rate), 60).mean()), 60, 0.9) > rate
        for _ in range(1_000)
    ]
    assert np.mean(missed) <= 0.1 + 0.02


@pytest.mark.parametrize("size", [0.3, 1.0])
def test_betting_rejects_a_true_null_no_more_often_than_its_level(size: float) -> None:
    """Mean 0 with values from -.9 up: most are a little above, some far below."""
    draw = np.random.default_rng(2)
    wrong = [
        positive_p_value(np.where(draw.random(300) < 0.1, -0.9, 0.1) * size, -0.9) <= 0.05
        for _ in range(2_000)
    ]
    assert np.mean(wrong) <= 0.05 + 0.015


def test_betting_finds_a_small_difference_of_pairs_that_hardly_differ() -> None:
    """98 % of the large tier, where the policy does as the large tier but for 1 in 200 subtasks."""
    draw = np.random.default_rng(3)
    large = (draw.random(1_500) < 0.9).astype(float)
    policy = np.where(draw.random(1_500) < 0.005, 0.0, large)
    values = policy - 0.98 * large
    assert positive_p_value(values, -0.98) <= 0.05
    assert fractional_p_value(float((values + 0.98).mean() / 1.98), 1_500, 0.98 / 1.98) > 0.5
    assert 0 < positive_lower_bound(values, -0.98) < values.mean()


@settings(max_examples=25)
@given(st.lists(st.floats(-0.5, 1), min_size=1, max_size=60))
def test_the_betting_bound_is_below_the_mean(values: list[float]) -> None:
    array = np.array(values)
    assert positive_lower_bound(array, -0.5) <= array.mean() + 1e-9


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="3 successes in 2 trials"):
        lower_bound(3, 2, 0.95)
    with pytest.raises(InputError, match="confidence"):
        lower_bound(1, 2, 1.0)
    with pytest.raises(InputError, match="lower limit"):
        positive_p_value(np.array([-2.0]), -1.0)
