"""Several real processes, and one thread."""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from stellwerk.persistence.lease import Lease
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from tests.persistence import run_process
from tests.persistence.leases import rows, take_over, take_over_unless_locked
from tests.persistence.processes import Process, process


def test_of_four_processes_that_claim_at_once_one_wins(shared_url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(process(run_process.said, "claim", shared_url)) for _ in range(4)]
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
    with (
        process(run_process.said, "resume", shared_url, log) as one,
        process(run_process.said, "resume", shared_url, log) as two,
    ):
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


def stopped(holder: Process, url: str) -> Lease:
    """Let it stand still, and take its thread over.

    A process that is stopped within a transaction keeps its locks, and everybody would wait for it.
    """
    for _ in range(100):
        holder.signal(signal.SIGSTOP)
        if lease := take_over_unless_locked(url, "t"):
            return lease
        holder.signal(signal.SIGCONT)
    raise AssertionError("always within a transaction")


@pytest.mark.parametrize("kind", ["run", "arun"])
def test_a_holder_that_stood_still_until_it_was_replaced_writes_nothing(
    shared_url: str, tmp_path: Path, kind: str
) -> None:
    log = tmp_path / "log"
    with (
        process(run_process.said, kind, shared_url, log) as holder,
        SQLAlchemySaver.from_url(shared_url) as saver,
    ):
        assert holder.says() == "ready"
        lease = stopped(holder, shared_url)
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
