import numpy as np
import pytest

from stellwerk.errors import InputError
from stellwerk.routers.drift import calibration_drift
from stellwerk.routers.mix_drift import mix_drift


def stream(draw: np.random.Generator, count: int, shift: float = 0.0) -> tuple[list[float], list[float]]:
    believed = draw.uniform(0.5, 0.9, count)
    right = draw.random(count) < believed + shift
    return believed.tolist(), right.astype(float).tolist()


@pytest.mark.parametrize("shift", [0.0, 0.05, -0.05])
def test_without_drift_beyond_the_tolerance_the_alarm_seldom_ever_goes_off(shift: float) -> None:
    draw = np.random.default_rng(1)
    alarms = [calibration_drift(*stream(draw, 500, shift), false_alarms=0.1).alarm for _ in range(200)]
    assert np.mean(alarms) <= 0.1 + 0.04


def test_a_drop_is_found_soon_and_dated() -> None:
    draw = np.random.default_rng(2)
    before, after = stream(draw, 1_000), stream(draw, 400, -0.3)
    found = calibration_drift(before[0] + after[0], before[1] + after[1])
    assert found.alarm
    assert found.at is not None
    assert 1_000 < found.at < 1_150
    assert 930 < found.since < 1_060
    assert found.shift < -0.15
    assert "less often than believed" in found.why
    assert not calibration_drift(*before).alarm


def test_answers_that_are_better_than_believed_are_drift_too() -> None:
    draw = np.random.default_rng(3)
    found = calibration_drift([0.6] * 600, (draw.random(600) < 0.85).astype(float).tolist())
    assert found.alarm
    assert "more often" in found.why


def test_records_of_a_group_count_once() -> None:
    draw = np.random.default_rng(4)
    alarms = {"grouped": 0, "single": 0}
    for _ in range(100):
        right = np.repeat((draw.random(60) < 0.7).astype(float), 10).tolist()
        groups = np.repeat(np.arange(60), 10).tolist()
        alarms["grouped"] += calibration_drift([0.7] * 600, right, groups=groups, false_alarms=0.1).alarm
        alarms["single"] += calibration_drift([0.7] * 600, right, false_alarms=0.1).alarm
    assert alarms["grouped"] <= 14
    assert alarms["single"] > 20


def test_no_records_are_no_drift_and_wrong_ones_are_refused() -> None:
    assert not calibration_drift([], []).alarm
    with pytest.raises(InputError, match="2 beliefs and 1 labels"):
        calibration_drift([0.1, 0.2], [1.0])
    with pytest.raises(InputError, match="not from 0 to 1"):
        calibration_drift([0.1], [7.0])


WORKERS = np.array(["extract", "classify", "calculate"])


def mix(
    draw: np.random.Generator, count: int, share: float = 0.5, longer: float = 0.0
) -> dict[str, list[float]]:
    rest = (1 - share) / 2
    return {
        "worker": draw.choice(WORKERS, count, p=[share, rest, rest]).tolist(),
        "source": (draw.normal(size=count) + longer).tolist(),
    }


def test_the_same_mix_raises_no_more_false_alarms_than_promised() -> None:
    draw = np.random.default_rng(5)
    alarms = [mix_drift(mix(draw, 60), mix(draw, 40), false_alarms=0.1, seed=n).alarm for n in range(60)]
    assert np.mean(alarms) <= 0.1 + 0.09


def test_other_workers_or_longer_sources_are_named() -> None:
    draw = np.random.default_rng(6)
    before = mix(draw, 400)
    workers = mix_drift(before, mix(draw, 200, share=0.8))
    assert workers.alarm
    assert workers.why.startswith("worker moved")
    longer = mix_drift(before, mix(draw, 200, longer=0.6))
    assert longer.why.startswith("source moved")
    assert not mix_drift(before, mix(draw, 200)).alarm


def test_a_worker_never_seen_before_is_drift() -> None:
    assert mix_drift({"worker": ["extract"] * 100}, {"worker": ["extract"] * 80 + ["new"] * 20}).alarm


def test_groups_are_shuffled_as_a_whole() -> None:
    """Two documents on one side say little of the mix, however many subtasks they have."""
    before = {"source": [1.0] * 50 + [2.0] * 50}
    now = {"source": [3.0] * 100}
    assert mix_drift(before, now).alarm
    grouped = mix_drift(
        before, now, groups_before=["a"] * 50 + ["b"] * 50, groups_now=["c"] * 50 + ["d"] * 50
    )
    assert not grouped.alarm


def test_features_must_be_the_same() -> None:
    with pytest.raises(InputError, match="worker"):
        mix_drift({"worker": ["a"]}, {"source": [1.0]})
    with pytest.raises(InputError, match="false alarms"):
        mix_drift({"source": [1.0]}, {"source": [1.0]}, false_alarms=0)
