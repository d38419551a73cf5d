"""Traces are written beside the runs: whatever happens to the database, a run neither waits nor fails."""

import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.background import BackgroundWriter
from stellwerk.persistence.traces import TraceStore
from tests.fakes import ladder, made, make, plan, values, worker
from tests.persistence.conftest import SERVERS, database
from tests.persistence.traces import attempt

NOWHERE = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:9/test",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:9/test",
    "sqlite": "sqlite:////nowhere/at/all.sqlite",
}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def traced_run(store: TraceStore, *, subtasks: int = 3) -> dict[str, Any]:
    graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join", traces=store)
    needs = {f"s{number}": "" for number in range(subtasks)}
    return dict(graph.compile().invoke({"task": "Do it", "plan": plan(**needs)}))


@pytest.mark.parametrize("backend", NOWHERE)
def test_a_database_that_is_not_there(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    with TraceStore.from_url(NOWHERE[backend]) as store:
        for _ in range(3):
            output = traced_run(store)
            assert values(output) == {f"s{number}": made(f"s{number}") for number in range(3)}
            assert store.flush()
        assert store.dropped == 3 * 5  # three attempts, and where the run stands, twice
    (warning,) = warnings_of(caplog)
    assert "rows are being dropped" in warning
    assert "failed" in warning


def test_a_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "traces.sqlite"
    with TraceStore.from_url(path) as store:
        store.setup()
    with TraceStore.from_url(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert traced_run(store)["failure"] is None
        assert store.flush()
        assert store.dropped in (4, 5)  # two words on the run count once where they are written together
    assert ["readonly" in warning for warning in warnings_of(caplog)] == [True]


def test_what_works_again_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the next outage is warned of anew."""
    path = tmp_path / "traces.sqlite"
    with TraceStore.from_url(path) as store:
        for number in range(4):
            if number in (1, 3):
                engine = create_engine(f"sqlite:///{path}")
                with engine.begin() as connection:
                    connection.execute(text("ALTER TABLE stellwerk_attempts RENAME TO away"))
            for repeated in range(2):
                store.attempt(attempt(10 * number + repeated))
                assert store.flush()
            if number == 1:
                with engine.begin() as connection:
                    connection.execute(text("ALTER TABLE away RENAME TO stellwerk_attempts"))
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO stellwerk_attempts"))
        assert store.dropped == 4
        assert [found["subtask"] for found in store.attempts(newest_first=False)] == ["0", "1", "20", "21"]
    assert len(warnings_of(caplog)) == 2


@pytest.mark.parametrize("backend", SERVERS)
def test_a_server_that_ends_every_connection_in_the_middle(backend: str, tmp_path: Path) -> None:
    """As one that restarts does; what is queued is written once it is back."""
    with database(backend, tmp_path) as url, TraceStore.from_url(url) as store:
        store.attempt(attempt(0))
        assert store.flush()
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for number in range(1, 40):
                store.attempt(attempt(number))
                if number % 13 == 0:
                    _end_connections(connection, backend)
                    store.flush()
        engine.dispose()
        assert store.flush()
        assert store.dropped == 0
        assert sum(1 for _ in store.attempts()) == 40


def _end_connections(connection: Any, backend: str) -> None:
    if backend == "postgresql":
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        return
    query = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    for (number,) in connection.execute(text(query)).all():
        connection.execute(text(f"KILL {int(number)}"))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **environment},
    )


def test_a_full_disk(tmp_path: Path) -> None:
    """A file that may not grow stands for it: the system refuses the write in the same place."""
    code = f"""
        import resource
        from stellwerk.persistence.traces import TraceStore
        from tests.persistence.test_trace_outages import traced_run
        from tests.persistence.traces import attempt
        store = TraceStore.from_url({str(tmp_path / "traces.sqlite")!r})
        store.attempt(attempt(0))
        assert store.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        for number in range(1, 200):
            store.attempt(attempt(number, answer="x" * 20_000))
            if number % 20 == 0:
                assert store.flush()
        assert traced_run(store)["failure"] is None
        assert store.flush()
        print(store.dropped)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.attempt(attempt(200))
        assert store.flush()
        stored = sum(1 for _ in store.attempts())
        assert stored + store.dropped in (201 + 5 - 2, 201 + 5 - 1, 201 + 5), (stored, store.dropped)
        assert next(store.attempts(newest_first=True, worker="extract"))["subtask"] == "200"
    """
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr
    assert 0 < int(ended.stdout) <= 204
    assert ended.stderr.count("rows are being dropped") == 1


# The writer


def test_a_slow_database_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """The queue fills, what comes then is dropped, and what was queued is written in the end."""
    gate, written = threading.Event(), list[int]()

    def write(batch: list[int]) -> int:
        gate.wait(20)
        written.extend(batch)
        return 0

    writer = BackgroundWriter(write, name="slow", max_items=100, batch=10, linger=0)
    for number in range(1_000):
        writer.put(number, 1)
    assert not writer.flush(0.01)
    gate.set()
    assert writer.flush(20)
    assert written == sorted(written)
    assert len(written) + writer.dropped == 1_000
    assert 100 <= len(written) <= 110  # those queued, and a batch that was being written
    assert [message.partition(",")[0] for message in warnings_of(caplog)] == ["slow: rows are being dropped"]
    assert writer.close(20)


def test_the_queue_is_limited_by_size_too() -> None:
    gate = threading.Event()

    def write(batch: list[int]) -> int:
        gate.wait(20)
        return 0

    writer = BackgroundWriter(write, name="slow", max_size=1_000, batch_size=1, linger=0)
    assert sum(writer.put(number, 300) for number in range(100)) in (3, 4)
    gate.set()
    assert writer.close(20)


def test_closing_waits_no_longer_than_told_and_counts_what_is_lost() -> None:
    gate = threading.Event()

    def write(batch: list[int]) -> int:
        gate.wait(20)
        return 0

    writer = BackgroundWriter(write, name="stuck", batch=1, linger=0)
    for number in range(10):
        writer.put(number, 1)
    assert not writer.close(0.05)
    assert writer.dropped in (9, 10)  # one may be with the database
    assert not writer.put(1, 1)
    gate.set()


def test_what_the_writer_leaves_out_is_counted() -> None:
    def write(batch: list[int]) -> int:
        return sum(item < 0 for item in batch)

    writer = BackgroundWriter(write, name="some")
    for number in (1, -1, 2, -2):
        writer.put(number, 1)
    assert writer.close(20)
    assert writer.dropped == 2


def test_an_idle_writer_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stellwerk.persistence.background._IDLE", 0.01)
    writer: BackgroundWriter[int] = BackgroundWriter(lambda batch: 0, name="idle", linger=0)
    writer.put(1, 1)
    assert writer.flush(20)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "idle"]
    thread.join(20)
    assert not thread.is_alive()
    assert writer.put(2, 1)  # and another thread takes over
    assert writer.flush(20)


# The end of a process


def test_nothing_is_lost_at_the_end_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    code = f"""
        from stellwerk.persistence.traces import TraceStore
        from tests.persistence.traces import attempt
        store = TraceStore.from_url({str(path)!r})
        for number in range(700):
            store.attempt(attempt(number))
    """
    ended = run_python(code)
    assert (ended.returncode, ended.stderr) == (0, "")
    with TraceStore.from_url(path) as store:
        assert sum(1 for _ in store.attempts()) == 700


def test_a_dead_database_does_not_keep_a_process_from_ending() -> None:
    code = f"""
        from stellwerk.persistence.traces import TraceStore
        from tests.persistence.traces import attempt
        stores = [TraceStore.from_url(url) for url in {list(NOWHERE.values())!r}]
        for store in stores:
            store.attempt(attempt())
    """
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("rows are being dropped") == 3
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("backend", ["sqlite", *SERVERS])
def test_a_forked_process_writes_its_own(backend: str, tmp_path: Path) -> None:
    """In the middle of the parent's writing, and the parent goes on."""
    with database(backend, tmp_path) as url:
        code = f"""
            import os
            from stellwerk.persistence.traces import TraceStore
            from tests.persistence.traces import attempt
            store = TraceStore.from_url({url!r})
            children = []
            for number in range(300):
                store.attempt(attempt(number, run_id="parent"))
                if number % 60 == 30:
                    if not (child := os.fork()):
                        for own in range(50):
                            store.attempt(attempt(own, run_id=f"child {{number}}"))
                        os._exit(0 if store.close(30) and not store.dropped else 1)
                    children.append(child)
                if number == 100:
                    store.flush()
            assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
            assert store.flush()
            assert store.dropped == 0
        """
        ended = run_python(code)
        assert ended.returncode == 0, ended.stderr
        with TraceStore.from_url(url) as store:
            assert sum(1 for _ in store.attempts(run_id="parent")) == 300
            assert sum(1 for _ in store.attempts()) == 300 + 5 * 50


def test_several_stores_in_one_process(tmp_path: Path) -> None:
    stores = [TraceStore.from_url(tmp_path / f"{number}.sqlite") for number in range(4)]
    for number in range(100):
        stores[number % 4].attempt(attempt(number))
    assert [sum(1 for _ in store.attempts()) for store in stores] == [25] * 4
    for store in stores:
        store.close()


def test_ten_thousand_attempts_are_taken_while_nothing_can_be_written(tmp_path: Path) -> None:
    """Another program holds the database the whole time: whoever waited for it would wait for ever."""
    path = tmp_path / "traces.sqlite"
    with TraceStore.from_url(path) as store:
        store.setup()
        engine = create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for number in range(10_000):
                store.attempt(attempt(number))
            connection.rollback()
        engine.dispose()
        assert store.flush(120)
        assert store.dropped == 0
        assert sum(1 for _ in store.attempts()) == 10_000
