"""Databases for tests: each test has its own, so that they run side by side.

PostgreSQL and MariaDB are looked for at `STELLWERK_TEST_POSTGRESQL` and `STELLWERK_TEST_MARIADB`. One that
is not there is skipped, or is a failure where `STELLWERK_REQUIRE_DATABASES` is set.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/test",
}
BACKENDS = ("sqlite", "memory", *SERVERS)


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, on each kind in turn."""
    with database(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=("sqlite", *SERVERS))
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """As `url`, on those kinds that several connections, or processes, can share."""
    with database(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=tuple(SERVERS))
def server_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """As `url`, on the servers only."""
    with database(request.param, tmp_path) as made:
        yield made


@contextmanager
def database(backend: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, which is dropped afterwards."""
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
