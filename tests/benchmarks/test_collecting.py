import pytest

pytest.importorskip("langchain.agents", reason="langchain is not installed; it comes with stellwerk[agents]")

from benchmarks.conversion.collecting import markdown, measure


def test_each_program_is_timed_with_and_without_a_recorder() -> None:
    timings = measure(calls=4, runs=1)
    assert {(timing.program, timing.mode) for timing in timings} == {
        (program, mode) for program in ("graph", "agent") for mode in ("sync", "async")
    }
    assert len(timings) == 8
    assert markdown(timings).count("| agent | ") == 2
