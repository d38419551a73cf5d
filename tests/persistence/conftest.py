"""Databases for tests: each test has its own, so that they run side by side.

PostgreSQL and MariaDB are looked for at `STELLWERK_TEST_POSTGRESQL` and `STELLWERK_TEST_MARIADB`. One that
is not there is skipped, or is a failure where `STELLWERK_REQUIRE_DATABASES` is set.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from stellwerk.persistence.database import Database
from stellwerk.persistence.migrate import HEAD, VERSION_TABLE, version
from stellwerk.persistence.schema import (
    capabilities,
    checkpoints,
    conversion,
    effects,
    items,
    origins,
    routers,
    runs,
    traces,
)

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/test",
}
SLOW = {
    "test_disconnect",
    "test_fence_machine",
    "test_fork",
    "test_kill",
    "test_load",
    "test_model",
    "test_pgvector",
    "test_run_processes",
    "test_setup",
    "test_store_parity",
    "test_trace_outages",
    "test_trace_wiring",
}
BACKENDS = ("sqlite", "memory", *SERVERS)
# Each of these modules declares some tables on the metadata that they share.
TABLES = {
    name
    for module in (capabilities, checkpoints, conversion, effects, items, origins, routers, runs, traces)
    for name in module.metadata.tables
} | {VERSION_TABLE}


class Pool:
    """Databases that have every table, and are emptied after each test: a new one takes long to make."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._free: dict[str, list[str]] = {}

    @contextmanager
    def lent(self, backend: str, tmp_path: Path) -> Iterator[str]:
        """The URL of a database that holds nothing."""
        if backend not in SERVERS:
            with database(backend, tmp_path) as url:
                if backend == "sqlite":
                    shutil.copyfile(self._file(), str(make_url(url).database))
                yield url
            return
        free = self._free.setdefault(backend, [])
        url = free.pop() if free else self._new(backend)
        yield url
        if emptied(url):
            free.append(url)

    def _new(self, backend: str) -> str:
        url = self._stack.enter_context(database(backend, self._folder))
        with Database.from_url(url) as made:
            made.setup()
        return url

    def _file(self) -> Path:
        path = self._folder / "template.sqlite"
        if not path.exists():
            with Database.from_url(path) as made:
                made.setup()
        return path


def emptied(url: str) -> bool:
    """End what is connected to a database and delete all rows; False if its tables are not as they were."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    postgresql = engine.dialect.name == "postgresql"
    with engine.connect() as connection:
        query = "pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        if not postgresql:
            query = "id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for number in connection.execute(text(f"SELECT {query}")).scalars().all():
            with suppress(DBAPIError):  # gone by itself
                connection.execute(
                    text(f"SELECT pg_terminate_backend({number})" if postgresql else f"KILL {number}")
                )
        names = set(inspect(connection).get_table_names())
        as_they_were = names == TABLES and version(connection) == HEAD
        for name in names - {VERSION_TABLE}:
            connection.execute(text(f"DELETE FROM {name}"))
    engine.dispose()
    return as_they_were


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with ExitStack() as stack:
        yield Pool(stack, tmp_path_factory.mktemp("pool"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> Iterator[str]:
    """The URL of a database without a row, on each kind in turn."""
    with pool.lent(request.param, tmp_path) as lent:
        yield lent


@pytest.fixture(params=("sqlite", *SERVERS))
def shared_url(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> Iterator[str]:
    """As `url`, on those kinds that several connections, or processes, can share."""
    with pool.lent(request.param, tmp_path) as lent:
        yield lent


@pytest.fixture(params=tuple(SERVERS))
def server_url(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> Iterator[str]:
    """As `url`, on the servers only."""
    with pool.lent(request.param, tmp_path) as lent:
        yield lent


@contextmanager
def database(backend: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables, which is dropped afterwards."""
    if backend == "memory":
        yield "sqlite://"
        return
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / f'{uuid4().hex[:8]}.sqlite'}"
        return
    server = _server(backend)
    if problem := _unreachable(server):
        message = f"{backend} cannot be reached: {problem}"
        if os.environ.get("STELLWERK_REQUIRE_DATABASES"):
            pytest.fail(message)
        pytest.skip(message)
    name = f"stellwerk_test_{uuid4().hex[:12]}"
    engine = _admin(server)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if backend == "postgresql" else ""
            connection.execute(text(f"DROP DATABASE {name}{force}"))
        engine.dispose()


def _server(backend: str) -> URL:
    return make_url(os.environ.get(f"STELLWERK_TEST_{backend.upper()}") or SERVERS[backend])


def _admin(server: URL) -> Engine:
    return create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})


@cache
def _unreachable(server: URL) -> str | None:
    engine = _admin(server)
    try:
        with engine.connect():
            return None
    except DBAPIError as error:
        return str(error.orig).strip()
    finally:
        engine.dispose()
