import math
import random

import pytest

from benchmarks.statistics import Interval, mean_interval, paired_interval, quantile, ratio_interval
from stellwerk.errors import InputError


def test_an_interval_surrounds_the_mean_difference() -> None:
    a, b = [1.0, 1.0, 0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    interval = paired_interval(a, b, clusters=None, seed=1, resamples=500)
    assert interval.estimate == pytest.approx(1 / 3)
    assert 0.0 <= interval.low < interval.estimate < interval.high <= 1.0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = [random.Random(5).gauss(0, 1) for _ in range(30)] + [0.5, 2.0]
    first, second, third = (
        mean_interval(values, clusters=None, seed=seed, resamples=200) for seed in (3, 3, 4)
    )
    assert first == second != third


def test_a_difference_that_is_the_same_everywhere_is_certain() -> None:
    interval = paired_interval([3.0, 5.0, 9.0], [2.0, 4.0, 8.0], clusters=None, seed=0, resamples=100)
    assert interval == Interval(1.0, 1.0, 1.0)


def test_observations_that_agree_within_a_cluster_widen_the_interval() -> None:
    values = [float(page % 2) for page in range(20) for _ in range(6)]
    pages = [page for page in range(20) for _ in range(6)]
    clustered = mean_interval(values, clusters=pages, seed=2, resamples=1000)
    independent = mean_interval(values, clusters=None, seed=2, resamples=1000)
    assert clustered.estimate == independent.estimate == 0.5
    assert clustered.high - clustered.low > 2 * (independent.high - independent.low)


def test_a_large_cluster_weighs_as_many_observations_as_it_has() -> None:
    interval = mean_interval([1.0, 1.0, 1.0, 0.0], clusters=["a", "a", "a", "b"], seed=0, resamples=200)
    assert interval == Interval(0.75, 0.0, 1.0)


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_law_says() -> None:
    draw = random.Random(11)
    values = [draw.gauss(10, 2) for _ in range(400)]
    interval = mean_interval(values, clusters=None, seed=1, resamples=2000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2 / math.sqrt(400), rel=0.15)


def test_more_confidence_makes_a_wider_interval() -> None:
    values = [float(n) for n in range(25)]
    narrow = mean_interval(values, clusters=None, seed=1, resamples=500, confidence=0.5)
    wide = mean_interval(values, clusters=None, seed=1, resamples=500, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_ratio_of_means_that_move_together_is_certain() -> None:
    interval = ratio_interval([1.0, 2.0, 10.0], [2.0, 4.0, 20.0], clusters=None, seed=0, resamples=100)
    assert interval == Interval(0.5, 0.5, 0.5)


def test_a_ratio_is_of_the_means_and_not_the_mean_of_ratios() -> None:
    interval = ratio_interval([1.0, 9.0], [1.0, 3.0], clusters=None, seed=0, resamples=100)
    assert interval.estimate == 2.5
    assert (interval.low, interval.high) == (1.0, 3.0)


def test_a_ratio_may_be_unbounded_above() -> None:
    interval = ratio_interval([1.0, 1.0], [0.0, 1.0], clusters=None, seed=0, resamples=100)
    assert interval == Interval(2.0, 1.0, math.inf)


@pytest.mark.parametrize("b", [[0.0, 0.0], [-1.0, 2.0]])
def test_a_ratio_to_zero_or_to_a_negative_value_is_refused(b: list[float]) -> None:
    with pytest.raises(InputError, match="denominator"):
        ratio_interval([1.0, 1.0], b, clusters=None, seed=0)


def test_sequences_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="differ in length: 2 and 1"):
        paired_interval([1.0, 2.0], [1.0], clusters=None, seed=0)
    with pytest.raises(InputError, match="differ in length: 2 and 3"):
        mean_interval([1.0, 2.0], clusters=["a", "b", "c"], seed=0)


def test_one_cluster_is_refused_for_it_says_nothing_about_others() -> None:
    with pytest.raises(InputError, match="at least two clusters, not 1"):
        mean_interval([1.0, 0.0], clusters=["a", "a"], seed=0)


@pytest.mark.parametrize(("resamples", "confidence"), [(0, 0.95), (10, 1.0), (10, 0.0)])
def test_an_impossible_interval_is_refused(resamples: int, confidence: float) -> None:
    with pytest.raises(InputError, match="resamples"):
        mean_interval([1.0, 0.0], clusters=None, seed=0, resamples=resamples, confidence=confidence)


@pytest.mark.parametrize(("q", "value"), [(0, 1.0), (0.25, 1.75), (0.5, 2.5), (1, 4.0)])
def test_a_quantile_lies_linearly_between_its_neighbours(q: float, value: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], q) == value


def test_a_quantile_of_nothing_or_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least one value"):
        quantile([], 0.5)
    with pytest.raises(InputError, match=r"not at 1\.5"):
        quantile([1.0], 1.5)
