"""Runs killed by SIGKILL, a few for each database; `tests/persistence/kills.py` kills as many as wanted."""

import json
import random
from pathlib import Path

from tests.persistence.killed_graphs import KINDS
from tests.persistence.kills import kill_runs, kill_setups
from tests.persistence.processes import process


def kill(url: str, folder: Path) -> None:
    seed = random.randrange(10**6)
    kill_setups(url, 1, folder, seed)
    kind = random.choice([kind for kind in KINDS if kind.writes])
    print(json.dumps({"seed": seed, **kill_runs(url, 2, folder, seed, kinds=[kind])}))


def test_killed_runs_resume_right_and_repeat_nothing_stored(shared_url: str, tmp_path: Path) -> None:
    # In a process of its own, as it forks: this one may have threads and open databases.
    with process(kill, shared_url, tmp_path) as killing:
        said, code = killing.ends()
    assert code == 0, said
    report = json.loads(said)
    assert (report["kills"], report["repeated"]) == (2, 0)
