import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import Connection, create_engine, inspect, update
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.migrate import HEAD, version
from stellwerk.persistence.migrate import upgrade as migrate
from stellwerk.persistence.retention import find_prunable, prune_thread
from stellwerk.persistence.run_units import kept_free
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import checkpoints
from stellwerk.persistence.schema.columns import digest, microseconds
from stellwerk.persistence.schema.runs import runs
from stellwerk.persistence.serde import StrictEncryptedSerializer, StrictSerializer
from stellwerk.persistence.traces import TraceStore
from tests.fakes import ladder, make, plan, values, worker
from tests.persistence.conftest import SERVERS, database
from tests.persistence.leases import expire, rows
from tests.persistence.traces import attempt, run

OLD = datetime.now(UTC) - timedelta(days=40)


def stellwerk(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def stellwerk_json(*arguments: str) -> Any:
    result = stellwerk(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def graph(saver: SQLAlchemySaver) -> Any:
    return create_orchestrator([worker()], ladder(make, make), synthesizer="join").compile(checkpointer=saver)


def config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


@pytest.fixture(params=["sqlite", *SERVERS])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def filled(shared_url: str) -> str:
    """A database with two old threads and a new one, and an old and a new attempt."""
    with SQLAlchemySaver.from_url(shared_url) as saver:
        for thread in ("old", "older", "new"):
            given = {"task": "Do it", "plan": plan(a="", b="a"), "documents": ["Revenue was 5. " * 50]}
            graph(saver).invoke(given, config(thread), durability="sync")
    engine = create_engine(shared_url)
    with engine.begin() as connection:
        for thread in ("old", "older"):
            moved = update(checkpoints).where(checkpoints.c.thread == digest(thread))
            connection.execute(moved.values(saved_at=microseconds(OLD)))
    engine.dispose()
    with TraceStore.from_url(shared_url) as store:
        store.attempt(attempt(1, created_at=OLD))
        store.attempt(attempt(2, created_at=datetime.now(UTC)))
        store.run(run("old run", started_at=OLD, updated_at=OLD))
        store.run(run("new run", started_at=datetime.now(UTC), updated_at=datetime.now(UTC)))
        store.add_feedback(attempt(1).trace_id, score=1)
        store.add_feedback(attempt(2).trace_id, score=2)
        store.add_feedback("old run", score=3)
        store.add_feedback("new run", score=4)
    return shared_url


def count(url: str) -> dict[str, int]:
    with SQLAlchemySaver.from_url(url) as saver:
        return {thread: sum(1 for _ in saver.list(config(thread))) for thread in ("old", "older", "new")}


def test_upgrade_makes_the_tables(shared_url: str) -> None:
    result = stellwerk("db", "upgrade", "--database", shared_url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"the database is of version {HEAD}\n"
    assert stellwerk("db", "upgrade", "--database", shared_url).exit_code == 0


def test_upgrade_makes_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.sqlite"
    assert stellwerk("db", "upgrade", "--database", str(path)).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_stats(filled: str) -> None:
    found = stellwerk_json("db", "stats", "--threads", "2", "--database", filled)
    rows = {table["table"]: table["rows"] for table in found["tables"]}
    assert (rows["stellwerk_attempts"], rows["stellwerk_feedback"]) == (2, 4)
    assert rows["stellwerk_checkpoints"] == sum(count(filled).values()) > 0
    assert all(table["bytes"] > 0 for table in found["tables"])
    assert found["bytes"] >= sum(table["bytes"] for table in found["tables"])
    assert len(found["threads"]) == 2
    assert found["threads"][0]["bytes"] >= found["threads"][1]["bytes"] > 750
    shown = stellwerk("db", "stats", "--database", filled).stdout
    assert "stellwerk_checkpoints" in shown
    assert found["method"] in shown


def test_a_dry_run_deletes_nothing(filled: str) -> None:
    before = count(filled)
    outcome = stellwerk_json("db", "prune", "--older-than", "30d", "--dry-run", "--database", filled)
    assert outcome == {
        "threads": 2,
        "checkpoints": before["old"] + before["older"],
        "bytes": outcome["bytes"],
        "held": [],
        "unsaved": 0,
        "runs": 0,
        "traces": 2,
        "effects": 0,
        "overdue": 0,
        "dry_run": True,
    }
    assert outcome["bytes"] > 1500
    assert count(filled) == before


def test_prune_deletes_old_threads_and_traces(filled: str) -> None:
    before = count(filled)
    outcome = stellwerk_json("db", "prune", "--older-than", "30d", "--yes", "--database", filled)
    assert (outcome["pruned_threads"], outcome["deleted_traces"], outcome["failed"]) == (2, 2, {})
    assert count(filled) == {"old": 0, "older": 0, "new": before["new"]}
    with TraceStore.from_url(filled) as store:
        assert [found["subtask"] for found in store.attempts()] == ["2"]
        assert [found["run_id"] for found in store.runs()] == ["new run"]
        assert {said["score"] for said in store.feedback()} == {2.0, 4.0}
    again = stellwerk_json("db", "prune", "--older-than", "30d", "--yes", "--database", filled)
    assert (again["threads"], again["traces"]) == (0, 0)


def test_prune_to_the_latest_keeps_what_a_thread_needs_to_go_on(filled: str) -> None:
    arguments = ("db", "prune", "--older-than", "4w", "--keep-latest", "--keep-traces", "--yes")
    outcome = stellwerk_json(*arguments, "--database", filled)
    assert (outcome["pruned_threads"], outcome["traces"], outcome["deleted_traces"]) == (2, 0, 0)
    found = count(filled)
    assert found["old"] == found["older"] == 1 < found["new"]
    with SQLAlchemySaver.from_url(filled) as saver:
        assert set(values(graph(saver).get_state(config("old")).values)) == {"a", "b"}
        output = graph(saver).invoke({"task": "More", "plan": plan(c="")}, config("old"))
        assert set(values(output)) == {"c"}
    with TraceStore.from_url(filled) as store:
        assert sum(1 for _ in store.attempts()) == 2
    again = stellwerk_json(*arguments, "--database", filled)
    assert again["threads"] == 0  # of "older" the latest is all there is, and "old" has gone on


def test_prune_asks_first(filled: str) -> None:
    before = count(filled)
    refused = stellwerk("db", "prune", "--older-than", "30d", "--database", filled, stdin="n\n")
    assert refused.exit_code == 1
    assert "to delete: 2 threads with" in refused.stderr
    assert count(filled) == before
    assert stellwerk("db", "prune", "--older-than", "30d", "--database", filled, stdin="y\n").exit_code == 0
    assert count(filled)["old"] == 0


@pytest.mark.parametrize("how", [(), ("--keep-latest",)])
def test_a_thread_that_a_run_holds_is_left(filled: str, how: tuple[str, ...]) -> None:
    before = count(filled)
    arguments = ("db", "prune", "--older-than", "30d", *how, "--database", filled)
    with RunStore.from_url(filled) as store:
        lease = store.claim("old", task="Go on")
        dry = stellwerk_json(*arguments, "--dry-run")
        assert (dry["threads"], dry["held"]) == (1, ["old"])
        result = stellwerk(*arguments, "--yes", "--json")
        assert "left, as runs hold them: 1 threads" in result.stderr
        outcome = json.loads(result.stdout)
        assert (outcome["pruned_threads"], outcome["held"]) == (1, ["old"])
        assert count(filled)["old"] == before["old"]
        store.release(lease)
    outcome = stellwerk_json(*arguments, "--yes")
    assert (outcome["pruned_threads"], outcome["held"]) == (1, [])


def test_a_thread_that_is_claimed_while_it_would_be_pruned_is_left(filled: str) -> None:
    before, age = count(filled), timedelta(days=30)
    with SQLAlchemySaver.from_url(filled) as saver, RunStore(saver.database) as store:
        found = find_prunable(saver, older_than=age, keep_latest=False, keep_traces=True)
        lease = store.claim("old", task="Go on")
        outcomes = {
            one.thread_id: prune_thread(saver, one, older_than=age, keep_latest=False)
            for one in found.threads
        }
        assert outcomes == {"old": "held", "older": "pruned"}
        assert count(filled)["old"] == before["old"]
        assert store.renew(lease).token == lease.token
        assert store.claim("older", task="Anew").token == 1


def test_a_thread_cannot_be_claimed_while_it_is_pruned(filled: str) -> None:
    """The claim waits until the transaction that found the thread free has ended."""
    order: list[str] = []

    def claim() -> None:
        with RunStore.from_url(filled) as store:
            store.claim("never claimed", task="Begin")
            order.append("claimed")

    claiming = threading.Thread(target=claim)

    def prune(connection: Connection) -> None:
        with kept_free(connection, digest("never claimed")) as free:
            assert free
            claiming.start()
            claiming.join(0.5)  # it would be through by then; on a slow machine this proves less
            order.append("pruned")

    with SQLAlchemySaver.from_url(filled) as saver:
        saver.database.write(prune)
    claiming.join()
    assert order == ["pruned", "claimed"]


def runs_of(url: str) -> dict[str, str]:
    with RunStore.from_url(url) as store:
        return {run.task: run.status for run in store.list(limit=None)}


@pytest.fixture
def with_runs(shared_url: str) -> str:
    """Runs that ended long ago, without a word or with one, that runs since then, and that is new."""
    with RunStore.from_url(shared_url) as store:
        for task, old, ends in (
            ("done", True, True),
            ("died", True, False),
            ("runs", True, False),
            ("new", False, True),
        ):
            lease = store.claim(task, task=task)
            if ends:
                store.release(lease)
            if old:
                moved = update(runs).where(runs.c.run == lease.run_id.encode()).values(started_at=OLD)
                moved = moved.values(ended_at=OLD) if ends else moved
                store.database.write(lambda c, moved=moved: c.execute(moved))  # type: ignore[misc]
        expire(store.database, "died")
    return shared_url


def test_prune_deletes_old_runs(with_runs: str) -> None:
    arguments = ("db", "prune", "--older-than", "30d", "--database", with_runs)
    kept = stellwerk_json(*arguments, "--yes", "--keep-runs")
    assert kept["runs"] == 0
    assert len(runs_of(with_runs)) == 4
    assert stellwerk_json(*arguments, "--dry-run")["runs"] == 2
    assert stellwerk_json(*arguments, "--yes")["deleted_runs"] == 2
    assert runs_of(with_runs) == {"new": "done", "runs": "running"}
    with RunStore.from_url(with_runs) as store:  # a token is never given twice
        assert store.claim("done", task="again").token == 2


def test_prune_deletes_writes_of_threads_that_never_saved_a_checkpoint(shared_url: str) -> None:
    """As a process leaves them that was killed before its first checkpoint."""
    with SQLAlchemySaver.from_url(shared_url) as saver, RunStore(saver.database) as store:
        for thread, at in (("lost", OLD), ("held", OLD), ("begins", datetime.now(UTC))):
            ticks = microseconds(at) * 10 + 0x01B21DD213814000
            digits = f"{ticks:015x}"
            name = f"{digits[:8]}-{digits[8:12]}-6{digits[12:]}-8000-000000000000"
            told = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": name}
            saver.put_writes({"configurable": told}, [("channel", "value")], "task")
        store.claim("held", task="Begin")
        arguments = ("db", "prune", "--older-than", "30d", "--database", shared_url)
        assert stellwerk_json(*arguments, "--dry-run")["unsaved"] == 1
        assert [rows(saver.database, thread) for thread in ("lost", "held", "begins")] == [1, 1, 1]
        assert stellwerk_json(*arguments, "--yes")["deleted_unsaved"] == 1
        assert [rows(saver.database, thread) for thread in ("lost", "held", "begins")] == [0, 1, 1]


def test_a_thread_that_cannot_be_read_keeps_no_other(filled: str) -> None:
    engine = create_engine(filled)
    with engine.begin() as connection:
        spoilt = update(checkpoints).where(checkpoints.c.thread == digest("old"))
        connection.execute(spoilt.values(type="unknown"))
    engine.dispose()
    result = stellwerk(
        "db", "prune", "--older-than", "30d", "--keep-latest", "--yes", "--json", "--database", filled
    )
    assert result.exit_code == 1
    outcome = json.loads(result.stdout)
    assert (outcome["pruned_threads"], list(outcome["failed"])) == (1, ["old"])


@dataclass
class Mine:
    """A type of the user's own, which has to be allowed."""

    amount: int = 5


@pytest.mark.parametrize("why", ["encrypted", "a type of one's own"])
def test_what_only_a_program_can_read_is_left_with_the_remedy(why: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.sqlite'}"
    serde: Any = StrictSerializer(allow=[Mine])
    if why == "encrypted":
        serde = StrictEncryptedSerializer.with_key(b"k" * 32)
    with SQLAlchemySaver.from_url(url, serde=serde) as saver:
        for step in (1, 2):
            value: Any = {"amount": 5} if why == "encrypted" else Mine()
            told: Any = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
            saver.put(told, empty_checkpoint(), cast(Any, {"step": step, "mine": value}), {})
        saver.database.write(lambda c: c.execute(update(checkpoints).values(saved_at=microseconds(OLD))))
        arguments = ("db", "prune", "--older-than", "30d", "--yes", "--database", url)
        result = stellwerk(*arguments, "--keep-latest")
        assert result.exit_code == 1
        assert "prune it from Python, by saver.prune([thread_id], strategy='keep_latest')" in result.stderr
        assert "Traceback" not in result.stderr
        assert sum(1 for _ in saver.list(config("old"))) == 2
        saver.prune(["old"], strategy="keep_latest")
        assert sum(1 for _ in saver.list(config("old"))) == 1
    assert stellwerk(*arguments).exit_code == 0  # to delete it all, nothing has to be read


@pytest.mark.parametrize("age", ["30", "-1d", "soon", "", "1y"])
def test_an_age_that_is_none(age: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    stellwerk("db", "upgrade", "--database", str(path))
    result = stellwerk("db", "prune", f"--older-than={age}", "--database", str(path))
    assert result.exit_code == 2
    assert "such as 30d" in result.stderr


LOOKING = [
    "db stats",
    "db prune --older-than 1d --yes",
    "traces list",
    "traces export t.jsonl",
    "traces feedback id --score 1",
    "runs list",
    "runs show id",
    "runs cancel id",
    "resume id",
]


@pytest.mark.parametrize("line", LOOKING)
@pytest.mark.parametrize("given", ["{}", "sqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_a_database_that_is_not_there(line: str, given: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    result = stellwerk(*line.split(), "--database", given.format(path))
    assert result.exit_code == 2
    assert result.stderr == f"stellwerk: there is no database {path}; give another with --database\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", LOOKING)
def test_a_server_that_is_not_there(line: str) -> None:
    gone = stellwerk(*line.split(), "--database", "postgresql://postgres@127.0.0.1:9/test")
    assert gone.exit_code == 1
    assert "failed" in gone.stderr


@pytest.mark.parametrize("line", LOOKING)
def test_a_file_of_another_program_stays_as_it_is(line: str, tmp_path: Path) -> None:
    path = tmp_path / "not ours?.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
    before = path.read_bytes()
    result = stellwerk(*line.split(), "--database", str(path))
    assert result.exit_code == 2
    assert f"the database {path} has no tables of Stellwerk" in result.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("backend", SERVERS)
def test_a_server_without_tables_stays_as_it_is(backend: str, tmp_path: Path) -> None:
    with database(backend, tmp_path) as url:
        for line in ("db stats", "runs list", "traces list"):
            result = stellwerk(*line.split(), "--database", url)
            assert result.exit_code == 2
            assert "has no tables of Stellwerk" in result.stderr
        engine = create_engine(url)
        assert inspect(engine).get_table_names() == []
        engine.dispose()


def test_looking_at_an_older_version_does_not_migrate_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        migrate(connection, "0003")
    result = stellwerk("runs", "list", "--database", str(path))
    assert result.exit_code == 2
    assert "is of version 0003" in result.stderr
    assert "stellwerk db upgrade" in result.stderr
    with engine.connect() as connection:
        assert version(connection) == "0003"
    engine.dispose()
    assert stellwerk("db", "upgrade", "--database", str(path)).exit_code == 0
    assert stellwerk("runs", "list", "--database", str(path)).exit_code == 0


# Traces


def test_traces_list(filled: str) -> None:
    found = stellwerk_json("traces", "list", "--database", filled)
    assert [row["subtask"] for row in found] == ["2", "1"]
    shown = stellwerk("traces", "list", "--worker", "extract", "-n", "1", "--database", filled).stdout
    assert found[0]["trace_id"] in shown
    assert found[1]["trace_id"] not in shown
    since = datetime.now(UTC) - timedelta(days=1)
    recent = stellwerk_json("traces", "list", "--since", f"{since:%Y-%m-%d}", "--database", filled)
    assert [row["subtask"] for row in recent] == ["2"]
    assert stellwerk_json("traces", "list", "--rejected", "--database", filled) == []


def test_traces_of_a_time_that_has_an_offset(filled: str) -> None:
    with TraceStore.from_url(filled) as store:
        store.attempt(attempt(3, created_at=datetime(2020, 6, 1, 12, tzinfo=UTC)))

    def listed(since: str, until: str) -> list[str]:
        found = stellwerk_json("traces", "list", "--since", since, "--until", until, "--database", filled)
        return [row["subtask"] for row in found]

    assert listed("2020-06-01T13:59+02:00", "2020-06-01T14:01+02:00") == ["3"]
    assert listed("2020-06-01 11:59", "2020-06-01T12:01Z") == ["3"]
    assert listed("2020-06-01T12:01+02:00", "2020-06-02") == ["3"]
    assert listed("2020-06-01T11:59+02:00", "2020-06-01T12:01+02:00") == []
    odd = stellwerk("traces", "list", "--since", "soon", "--database", filled)
    assert odd.exit_code == 2
    assert "is no time" in odd.stderr


def test_the_run_id_that_is_shown_can_be_given(filled: str, tmp_path: Path) -> None:
    with TraceStore.from_url(filled) as store:
        for number, name in enumerate(("0123456789-a", "0123456789-b", "01234567", "abcdefghijkl"), 10):
            store.attempt(attempt(number, run_id=name))

    def listed(run: str) -> list[str]:
        return [row["run_id"] for row in stellwerk_json("traces", "list", "--run", run, "--database", filled)]

    assert listed("abcdefgh") == ["abcdefghijkl"]
    assert listed("01234567") == ["01234567"]
    assert listed("nothing") == []
    several = stellwerk("traces", "list", "--run", "012345678", "--database", filled)
    assert several.exit_code == 2
    assert "'0123456789-a' and '0123456789-b'" in several.stderr
    path = tmp_path / "traces.jsonl"
    exported = stellwerk_json("traces", "export", str(path), "--run", "abcd", "--database", filled)
    assert exported["written"] == 1


@pytest.mark.parametrize("format", ["chat", "parquet"])
def test_traces_export_to_no_name(format: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    stellwerk("db", "upgrade", "--database", str(path))
    for name in ("", "/"):
        result = stellwerk("traces", "export", "--format", format, name, "--database", str(path))
        assert result.exit_code == 2
        assert "is no name of a file; give one to write to" in result.stderr


def test_traces_export(filled: str, tmp_path: Path) -> None:
    for name in ("traces.parquet", "traces.jsonl"):
        path = tmp_path / name
        outcome = stellwerk_json("traces", "export", str(path), "--database", filled)
        assert outcome == {"path": str(path), "written": 2, "left_out": 0}
        assert path.stat().st_size > 0
    odd = stellwerk("traces", "export", str(tmp_path / "traces.csv"), "--database", filled)
    assert odd.exit_code == 2
    assert "--format" in odd.stderr


def test_traces_feedback(filled: str) -> None:
    name = attempt(2).trace_id
    arguments = ("--label", "wrong", "--comment", "it is six", "--who", "ada")
    assert stellwerk("traces", "feedback", name, *arguments, "--database", filled).exit_code == 0
    said = stellwerk_json("traces", "feedback", name, "--database", filled)
    assert [(one["label"], one["score"]) for one in said] == [("wrong", None), (None, 2.0)]
    shown = stellwerk("traces", "feedback", name, "--database", filled).stdout
    assert "ada  wrong  it is six" in shown
    for opinion in (("--score", "1"), ()):
        unknown = stellwerk("traces", "feedback", "nothing", *opinion, "--database", filled)
        assert unknown.exit_code == 2
        assert "no attempt and no run has the id 'nothing'" in unknown.stderr
    unsaid = attempt(9)
    with TraceStore.from_url(filled) as store:
        store.attempt(unsaid)
    assert stellwerk_json("traces", "feedback", unsaid.trace_id, "--database", filled) == []
