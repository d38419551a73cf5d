from __future__ import annotations

import numpy as np
import pytest

from stellwerk.routers.logistic import fit, logit, sigmoid, softened
from stellwerk.routers.scoring import auc, brier, calibration_error


def test_auc_counts_pairs_in_the_right_order_and_ties_as_half() -> None:
    one = np.ones(4)
    assert auc(np.asarray([0.1, 0.2, 0.8, 0.9]), np.asarray([0.0, 0, 1, 1]), one) == 1
    assert auc(np.asarray([0.1, 0.8, 0.2, 0.9]), np.asarray([0.0, 0, 1, 1]), one) == 0.75
    assert auc(np.asarray([0.5, 0.5, 0.5, 0.5]), np.asarray([0.0, 0, 1, 1]), one) == 0.5
    assert auc(np.asarray([0.5, 0.6]), np.asarray([1.0, 1]), np.ones(2)) is None
    assert brier(np.asarray([0.5, 1.0]), np.asarray([1.0, 1]), np.asarray([1.0, 3])) == pytest.approx(1 / 16)


def test_the_calibration_error_of_a_calibrated_model_is_about_zero_on_average() -> None:
    draw = np.random.default_rng(0)
    errors, off = [], []
    for _ in range(200):
        chances = draw.uniform(0.2, 0.95, 300)
        right = (draw.uniform(size=300) < chances).astype(float)
        errors.append(calibration_error(chances, right, np.ones(300)))
        off.append(calibration_error(np.clip(chances - 0.15, 0, 1), right, np.ones(300)))
    assert np.mean([error**2 for error in errors if error is not None]) < 0.02**2 + 0.001
    assert np.median([error for error in off if error is not None]) == pytest.approx(0.15, abs=0.03)
    assert calibration_error(chances[:19], right[:19], np.ones(19)) is None


def test_logistic_regression_finds_the_coefficients_and_without_cases_keeps_the_start() -> None:
    draw = np.random.default_rng(1)
    rows = np.column_stack([np.ones(4_000), draw.normal(size=(4_000, 2))])
    true = np.asarray([0.3, 1.0, -2.0])
    aims = (draw.uniform(size=4_000) < sigmoid(rows @ true)).astype(float)
    start, ridge = np.asarray([0.0, 1.0, 0.0]), np.full(3, 0.1)
    assert fit(rows, aims, np.ones(4_000), start=start, ridge=ridge) == pytest.approx(true, abs=0.2)
    assert fit(rows[:0], aims[:0], np.ones(0), start=start, ridge=ridge) == pytest.approx(start)
    # A constant column only: the mean.
    mean = fit(rows[:, :1], np.full(4_000, 0.2), np.ones(4_000), start=np.zeros(1), ridge=np.zeros(1))
    assert sigmoid(mean) == pytest.approx([0.2], abs=1e-4)


def test_separable_cases_and_huge_figures_stay_finite() -> None:
    rows = np.asarray([[1.0, -1e6], [1.0, 1e6]])
    found = fit(rows, np.asarray([0.0, 1.0]), np.ones(2), start=np.zeros(2), ridge=np.full(2, 1e-3))
    assert np.isfinite(found).all()
    assert np.isfinite(logit(np.asarray([0.0, 1.0]))).all()


def test_what_so_many_cases_leave_open() -> None:
    soft = softened(np.ones(98), np.ones(98))
    assert soft == pytest.approx(np.full(98, 0.99))
