from benchmarks.durable import ARMS, markdown, measure


def test_each_arm_is_saved_timed_and_shown() -> None:
    timings = measure(2, runs=1)
    assert [(timing.arm, timing.shape) for timing in timings] == [
        (arm, shape) for shape in ("side by side", "chain") for arm in ARMS
    ]
    assert all(timing.wall > 0 for timing in timings)
    for arm in ARMS:
        assert f"\n| {arm} | chain |" in markdown(timings)
