from benchmarks.tool_loop import OWN, arms, markdown, measure


def test_each_arm_is_timed_and_shown() -> None:
    timings = measure(rounds=2, loops=1, runs=1)
    there = list(arms(2, False))
    assert there[0] == OWN
    assert len(there) > 1
    assert {timing.arm for timing in timings} == set(there)
    assert len(timings) == 4 * len(there)
    table = markdown(timings)
    assert all(f"| {arm} |" in table for arm in there)
