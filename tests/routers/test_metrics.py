from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.errors import InputError
from stellwerk.routers.metrics import Point, apgr, brier, call_curve, capgr, cpt, ece, hull, pgr, save_at

SMALL, LARGE = Point(1.0, 0.6), Point(10.0, 0.9)


def answers(count: int = 4_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How hard each query is, and whether each tier is right."""
    draw = np.random.default_rng(1)
    hard = draw.random(count)
    return hard, (draw.random(count) > hard).astype(float), (draw.random(count) > hard / 4).astype(float)


def test_the_gap_is_recovered_from_none_to_all() -> None:
    assert [pgr(q, 0.6, 0.8) for q in (0.6, 0.7, 0.8)] == pytest.approx([0.0, 0.5, 1.0])
    with pytest.raises(InputError, match="no gap"):
        pgr(0.5, 0.7, 0.7)


def test_a_random_router_has_half_and_one_that_knows_has_more() -> None:
    hard, small, large = answers()
    lots = np.random.default_rng(2).random(len(hard))
    assert apgr(lots, small, large) == pytest.approx(0.5, abs=0.03)
    assert apgr(hard, small, large) > 0.6
    assert apgr(-hard, small, large) < 0.4
    # One who knows both outcomes sends there what only the large tier gets right.
    assert apgr(large - small + lots / 10, small, large) > apgr(hard, small, large) + 0.1


def test_apgr_is_the_trapezoid_over_deciles() -> None:
    hard, small, large = answers(500)
    shares, qualities = call_curve(hard, small, large)
    assert len(shares) == 12
    assert shares[1] == 1 / 500
    assert shares[-1] == 1.0
    area = sum(np.diff(shares) * (qualities[1:] + qualities[:-1]) / 2)
    assert apgr(hard, small, large) == pytest.approx((area - small.mean()) / (large.mean() - small.mean()))


def test_a_score_that_all_share_is_a_random_router() -> None:
    _, small, large = answers()
    assert apgr(np.zeros(len(small)), small, large) == pytest.approx(0.5)


def test_the_threshold_is_the_least_share_that_recovers_the_gap() -> None:
    hard, small, large = answers()
    assert cpt(hard, small, large, 0.0) == 0.0
    half, most = (cpt(hard, small, large, target) for target in (0.5, 0.8))
    assert 0 < half < most < 0.8
    assert cpt(np.zeros(len(small)), small, large, 0.5) == pytest.approx(0.5)
    with pytest.raises(InputError, match="at most 1"):
        cpt(hard, small, large, 1.1)


points = st.lists(st.builds(Point, st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=12)


@given(points)
def test_the_hull_is_above_all_points_and_rises_ever_slower(some: list[Point]) -> None:
    upper = hull(some)
    costs, qualities = [p.cost for p in upper], [p.quality for p in upper]
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    for point in some:
        assert np.interp(point.cost, costs, qualities) >= point.quality - 1e-9
    slopes = [
        (b.quality - a.quality) / (b.cost - a.cost) for a, b in pairwise(upper) if b.cost - a.cost > 1e-3
    ]
    assert all(b <= a + 1e-6 for a, b in pairwise(slopes))


def test_mixing_the_ends_has_half_of_the_gap_and_saves_nothing() -> None:
    assert capgr([], SMALL, LARGE) == pytest.approx(0.5)
    assert save_at([], SMALL, LARGE) == pytest.approx(0.0)
    assert capgr([Point(1.0, 0.9)], SMALL, LARGE) == pytest.approx(1.0)
    with pytest.raises(InputError, match="no more than the small one"):
        capgr([], LARGE, SMALL)


def test_what_is_saved_at_the_large_tiers_quality() -> None:
    assert save_at([Point(4.0, 0.9)], SMALL, LARGE) == pytest.approx(0.6)
    assert save_at([Point(4.0, 0.95)], SMALL, LARGE, share=1.0) > 0.6
    assert save_at([], SMALL, LARGE, share=0.75 / 0.9) == pytest.approx(1 - 5.5 / 10)
    with pytest.raises(InputError, match="no operating point reaches"):
        save_at([], SMALL, LARGE, share=1.1)


def test_calibration_error_of_a_calibrated_model_is_not_taken_for_one() -> None:
    draw = np.random.default_rng(3)
    plain, corrected = [], []
    for _ in range(200):
        p = draw.uniform(0.3, 0.9, 300)
        y = (draw.random(300) < p).astype(float)
        plain.append(ece(p, y, debiased=False))
        corrected.append(ece(p, y))
    assert np.mean(plain) > 0.055
    assert np.mean(corrected) < 0.65 * np.mean(plain)


def test_a_real_calibration_error_is_found() -> None:
    draw = np.random.default_rng(4)
    p = draw.uniform(0.3, 0.7, 2_000)
    y = (draw.random(2_000) < p + 0.2).astype(float)
    assert ece(p, y) == pytest.approx(0.2, abs=0.03)
    assert ece([0.5, 0.5], [0.0, 1.0]) >= 0.0


def test_brier() -> None:
    assert brier([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert brier([0.5, 0.5], [1.0, 0.0]) == 0.25
    with pytest.raises(InputError, match=r"\[2, 1\]"):
        brier([0.5, 0.5], [1.0])
