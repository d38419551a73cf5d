"""Several real processes, and one thread."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from tests.persistence import run_process
from tests.persistence.leases import rows, take_over


class Process:
    """One that is talked to by lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def hears(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def says(self) -> str:
        """Its next line; empty at its end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)


@contextmanager
def process(what: str, *arguments: object) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.persistence.run_process", what, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield Process(started)
        finally:
            started.kill()


def test_of_four_processes_that_claim_at_once_one_wins(shared_url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(process("claim", shared_url)) for _ in range(4)]
        assert [each.says() for each in processes] == ["ready"] * 4
        for each in processes:
            each.hears()
        said = sorted(each.says() for each in processes)
    assert said[-1] == "token 1"
    assert all(line.startswith("LeaseError: thread 't' is held by ") for line in said[:-1])


def test_of_two_that_resume_a_thread_at_once_one_advances(shared_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with SQLAlchemySaver.from_url(shared_url) as saver:
        config = RunStore(saver.database).claim("t", task="x").config
        run_process.steps(saver, log).invoke({"done": []}, config, interrupt_before="b", durability="sync")
        take_over(saver.database, "t")
        RunStore(saver.database).release(take_over(saver.database, "t"))
    with process("resume", shared_url, log) as one, process("resume", shared_url, log) as two:
        assert (one.says(), two.says()) == ("ready", "ready")
        one.hears()
        two.hears()
        said = {one.says(): one, two.says(): two}
        refused = next(line for line in said if line.startswith("LeaseError"))
        assert "is held by" in refused
        said.pop("done abc").hears()
        assert log.read_text().split() == ["a", "b", "c"]
    with RunStore.from_url(shared_url) as store:
        assert len(store.list()) == 4


@pytest.mark.parametrize("kind", ["run", "arun"])
def test_a_holder_that_stood_still_until_it_was_replaced_writes_nothing(
    shared_url: str, tmp_path: Path, kind: str
) -> None:
    log = tmp_path / "log"
    with process(kind, shared_url, log) as holder, SQLAlchemySaver.from_url(shared_url) as saver:
        assert holder.says() == "ready"
        holder.signal(signal.SIGSTOP)
        lease = take_over(saver.database, "t")
        before = rows(saver.database, "t")
        assert before > 0
        holder.signal(signal.SIGCONT)
        holder.hears()
        said = holder.says()
        assert said.startswith("LeaseError: thread 't' was taken over by other:1")
        assert holder.says() == ""
        assert rows(saver.database, "t") == before
        values = run_process.steps(saver, log).invoke(None, lease.config, durability="sync")
        assert values == {"done": ["a", "b", "c"]}
        assert [run.status for run in RunStore(saver.database).list()] == ["running", "interrupted"]
