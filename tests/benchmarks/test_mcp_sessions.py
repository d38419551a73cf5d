import pytest

from benchmarks.mcp_sessions import KINDS, SESSIONS, markdown, measure


@pytest.mark.server
def test_each_way_is_timed_and_shown() -> None:
    timings = measure(calls=1, runs=1)
    assert [(timing.kind, timing.session) for timing in timings] == [
        (kind, session) for kind in KINDS for session in SESSIONS
    ]
    table = markdown(timings)
    assert all(f"| {kind} | {session} |" in table for kind in KINDS for session in SESSIONS)
