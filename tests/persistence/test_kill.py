"""Runs killed by SIGKILL, a few for each database; `tests/persistence/kills.py` kills as many as wanted."""

import json
import subprocess
import sys
from pathlib import Path


def test_killed_runs_resume_right_and_repeat_nothing_stored(shared_url: str, tmp_path: Path) -> None:
    report = tmp_path / "kills.json"
    # A process of its own, as it forks: this one may have threads and open databases.
    command = [sys.executable, "-m", "tests.persistence.kills", "--kills", "3", "--setups", "1"]
    done = subprocess.run(
        [*command, "--url", shared_url, "--json", str(report)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["kills"] == 3
