import asyncio
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import markdown, soak

pytestmark = pytest.mark.slow


def test_nothing_is_lost_or_done_twice_while_servers_fail_hang_and_are_killed(tmp_path: Path) -> None:
    result = asyncio.run(soak(4, 25, 8, tmp_path))
    assert (result.lost, result.wrong) == ([], [])
    assert result.accepted_right == result.subtasks == 100
    assert result.again_after_acceptance == []
    assert max(result.peak.values()) <= 8
    assert result.kills == 4
    assert result.requests > 100  # some failed
    assert "100 of 100" in markdown(result)
