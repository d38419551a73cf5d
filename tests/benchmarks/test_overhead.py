from benchmarks.overhead import ARMS, markdown, measure


def test_each_arm_is_timed_and_shown() -> None:
    timings = measure([2], runs=1)
    assert [timing.arm for timing in timings] == list(ARMS)
    assert all(timing.wall > 0 for timing in timings)
    for arm in ARMS:
        assert f"\n| {arm} | 2 |" in markdown(timings)
