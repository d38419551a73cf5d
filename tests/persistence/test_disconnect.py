"""Servers that drop connections, restart, fill up or were never there."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, StateGraph
from sqlalchemy import create_engine, make_url, text
from typing_extensions import TypedDict

from stellwerk.errors import DatabaseError
from stellwerk.persistence.database import Database
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.processes import process
from tests.persistence.savers import at, checkpoint, listed, opened, put

ROOT = Path(__file__).parents[2]
STEPS = 12


class Count(TypedDict):
    steps: list[str]


def counting(checkpointer: Any, each: Callable[[int], object]) -> Any:
    """A graph of twelve steps that does something to the database in each."""

    def step(state: Count) -> Count:
        each(len(state["steps"]))
        return {"steps": [*state["steps"], "x" * 100]}

    graph = StateGraph(Count)
    graph.add_node("step", step)
    graph.set_entry_point("step")
    graph.add_conditional_edges("step", lambda state: END if len(state["steps"]) == STEPS else "step")
    return graph.compile(checkpointer=checkpointer)


def invoke(url: str, sync: bool, each: Callable[[int], object]) -> int:
    """Run the graph; how many checkpoints it leaves."""
    if sync:
        with SQLAlchemySaver.from_url(url) as saver:
            output = counting(saver, each).invoke({"steps": []}, at("1"), durability="sync")
            assert output["steps"] == ["x" * 100] * STEPS
            return len(list(saver.list(at("1"))))

    async def run() -> int:
        async with AsyncSQLAlchemySaver.from_url(url) as asaver:
            output = await counting(asaver, each).ainvoke({"steps": []}, at("1"), durability="sync")
            assert output["steps"] == ["x" * 100] * STEPS
            return len(await listed(asaver, at("1")))

    return asyncio.run(run())


class Striker:
    """Cuts every connection to a database but its own."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        admin = "postgres" if self._url.get_backend_name() == "postgresql" else "mysql"
        self._engine = create_engine(self._url.set(database=admin), isolation_level="AUTOCOMMIT")
        self.struck = 0

    def strike(self, *_: object) -> None:
        named = {"name": self._url.database}
        with self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                self.struck += len(connection.execute(text(query), named).all())
                return
            query = "SELECT id FROM information_schema.processlist WHERE db = :name"
            for (number,) in connection.execute(text(query), named).all():
                try:
                    connection.exec_driver_sql(f"KILL {int(number)}")
                    self.struck += 1
                except Exception as error:  # it went by itself
                    assert "Unknown thread" in str(error)  # noqa: PT017

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def striker(server_url: str) -> Iterator[Striker]:
    made = Striker(server_url)
    yield made
    made.close()


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_a_run_goes_on_when_its_connections_are_cut(server_url: str, striker: Striker, sync: bool) -> None:
    """In every step, while they are idle."""
    assert invoke(server_url, sync, striker.strike) == STEPS + 2
    assert striker.struck >= STEPS


def test_a_run_through_asyncpg_goes_on_when_its_connections_are_cut(
    server_url: str, striker: Striker
) -> None:
    if "postgresql" not in server_url:
        pytest.skip("asyncpg is a driver of PostgreSQL")
    assert invoke(server_url.replace("+psycopg", "+asyncpg"), False, striker.strike) == STEPS + 2


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_a_run_goes_on_when_its_connections_are_cut_at_any_moment(
    server_url: str, striker: Striker, sync: bool
) -> None:
    """By a thread that does nothing else: in the middle of statements and transactions."""
    done, struck = threading.Event(), threading.Event()

    def strike() -> None:
        while not done.wait(0.005):
            striker.strike()
            if striker.struck:
                struck.set()

    thread = threading.Thread(target=strike)

    def each(number: int) -> None:
        if number == 0:
            thread.start()
        elif number == STEPS - 2:  # a fast run would be over before the first cut
            assert struck.wait(20)

    try:
        invoke(server_url, sync, each)
    finally:
        done.set()
        thread.join()


# A server of one's own, that may be restarted


class Server:
    """A PostgreSQL server with a password, in a directory of its own."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres:geheim@127.0.0.1:{self.port}/postgres"
        secret = folder / "secret"
        secret.write_text("geheim")
        if os.getuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        self._options = f"-p {self.port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
        self.run("initdb", "-A", "scram-sha-256", "-U", "postgres", f"--pwfile={secret}", "-N")
        self.control("start")

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self._folder / "data"), *arguments]
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, timeout=60)

    def control(self, *arguments: str) -> None:
        log = str(self._folder / "log")
        self.run("pg_ctl", "-w", "-l", log, "-o", self._options, *arguments)


@contextmanager
def own_server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no initdb: a PostgreSQL server to restart cannot be made here")
    # Not below pytest's folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as folder:
        server = Server(found[-1].parent, Path(folder))
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as made:
        yield made


@pytest.mark.parametrize(
    ("sync", "driver", "how"),
    [(True, "psycopg", "fast"), (False, "psycopg", "immediate"), (False, "asyncpg", "fast")],
)
def test_a_run_goes_on_over_a_restart(server: Server, sync: bool, driver: str, how: str) -> None:
    """It is restarted once while the run waits, and once while the run goes on."""
    thread = threading.Thread(target=server.control, args=("restart", "-m", how))

    def each(number: int) -> None:
        if number == 3:
            server.control("restart", "-m", how)
        if number == 6:
            thread.start()

    url = server.url.replace("psycopg", driver)
    with SQLAlchemySaver.from_url(server.url) as saver:
        saver.delete_thread("1")
    assert invoke(url, sync, each) == STEPS + 2
    thread.join()


# Databases that cannot be reached

UNREACHABLE = [
    "postgresql+psycopg://postgres:geheim@127.0.0.1:1/x",
    "postgresql+asyncpg://postgres:geheim@127.0.0.1:1/x",
    "mariadb+pymysql://root:geheim@127.0.0.1:1/x",
    "mariadb+asyncmy://root:geheim@127.0.0.1:1/x",
    "sqlite:////nowhere/geheim/../x.sqlite",
]


async def said(url: str) -> list[str]:
    """What the checkpointers say of a URL, with all that a traceback shows."""
    messages = []
    for sync in (True, False):
        with pytest.raises(DatabaseError) as raised:
            async with opened(url, sync) as saver:
                await saver.aget_tuple(at("1"))
        assert "geheim" not in str(raised.value) or url.startswith("sqlite")
        assert "geheim@" not in "".join(traceback.format_exception(raised.value))
        messages.append(str(raised.value))
    return messages


@pytest.mark.parametrize("url", UNREACHABLE)
async def test_a_server_that_is_not_there_is_told(url: str) -> None:
    for message in await said(url):
        assert make_url(url).host is None or "127.0.0.1:1/x" in message


async def test_a_wrong_password_or_name_is_told(server: Server) -> None:
    wrong = make_url(server.url).set(password="geheim@home")
    for driver in ("psycopg", "asyncpg"):
        for message in await said(wrong.set(drivername=f"postgresql+{driver}").render_as_string(False)):
            assert "password authentication failed" in message
    for message in await said(server.url.replace("/postgres", "/nothing", 1)):
        assert "nothing" in message


async def test_an_unknown_database_is_told(server_url: str) -> None:
    unknown = make_url(server_url).set(database="no_such_database")
    for message in await said(unknown.render_as_string(hide_password=False)):
        assert "no_such_database" in message


async def test_a_pool_that_is_taken_is_told(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'a.sqlite'}", pool_size=1, max_overflow=0, pool_timeout=0.1
    )
    database = Database.from_engine(engine)
    database.setup()
    with engine.connect(), pytest.raises(DatabaseError, match="larger pool_size"):
        database.read(lambda connection: None)
    engine.dispose()


# SQLite


def write(url: str, name: str, puts: int) -> None:
    with SQLAlchemySaver.from_url(url) as saver:
        print("ready")
        sys.stdin.readline()
        for number in range(puts):
            made = checkpoint(f"{number:04}-{name}", value="v" * 500)
            saved = saver.put(at("shared"), made, {}, made["channel_versions"])
            saver.put_writes(saved, [("value", name)], name)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_a_file(processes: int, tmp_path: Path) -> None:
    """None is told that the database is locked, and no write is lost."""
    url, puts = f"sqlite:///{tmp_path / 'a.sqlite'}", 40 // processes
    with ExitStack() as stack:
        writers = [stack.enter_context(process(write, url, str(name), puts)) for name in range(processes)]
        assert [writer.says() for writer in writers] == ["ready"] * processes
        for writer in writers:
            writer.hears()
        assert [writer.ends() for writer in writers] == [("", 0)] * processes
    with SQLAlchemySaver.from_url(url) as saver:
        found = list(saver.list(at("shared")))
        assert len(found) == processes * puts
        assert all(one.pending_writes for one in found)


FULL = """
import resource, sys
from stellwerk.errors import DatabaseError
from stellwerk.persistence.saver import SQLAlchemySaver
from tests.persistence.savers import at, checkpoint
with SQLAlchemySaver.from_url(sys.argv[1]) as saver:
    made = checkpoint(value="v" * 1000)
    saver.put(at("1"), made, {}, made["channel_versions"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    large = checkpoint(large="v" * 1_000_000)
    for work in (
        lambda: saver.put(at("1"), large, {}, large["channel_versions"]),
        lambda: saver.put_writes(at("1", "", made["id"]), [("value", "w" * 1_000_000)], "task"),
    ):
        try:
            work()
        except DatabaseError as error:
            assert sys.argv[1] in str(error).replace("+pysqlite", ""), error
        else:
            raise AssertionError("the limit was not met by " + work.__code__.co_names[1])
        assert saver.get_tuple(at("1")).checkpoint == made
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    saver.put(at("1"), large, {}, large["channel_versions"])
    assert saver.get_tuple(at("1")).checkpoint == large
"""


def test_a_full_disk_is_told_and_what_was_saved_can_be_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:///{tmp_path / 'a.sqlite'}"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_a_read_only_file_can_be_read(sync: bool, tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'a.sqlite'}", sync) as saver:
        saved = await put(saver, at("1"))
    async with opened(f"sqlite:///file:{tmp_path / 'a.sqlite'}?mode=ro&uri=true", sync) as saver:
        found = await saver.aget_tuple(at("1"))
        assert found is not None
        assert len(await listed(saver, at("1"))) == 1
        with pytest.raises(DatabaseError, match="readonly"):
            await put(saver, saved)
