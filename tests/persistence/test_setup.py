"""Tables: made once, however many ask for them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, create_engine, event, inspect, text
from sqlalchemy.exc import InvalidRequestError

from stellwerk.errors import ConfigurationError, DatabaseError
from stellwerk.persistence.migrate import HEAD, upgrade, version
from stellwerk.persistence.saver import SQLAlchemySaver
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
from stellwerk.persistence.schema.columns import metadata
from tests.persistence.conftest import BACKENDS, SERVERS, database
from tests.persistence.processes import process


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Without tables, as those of the other tests are not."""
    with database(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=("sqlite", *SERVERS))
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


def set_up(url: str) -> None:
    with SQLAlchemySaver.from_url(url) as saver:
        print("ready")
        sys.stdin.readline()
        saver.setup()
        saver.get_tuple({"configurable": {"thread_id": "t"}})


def test_ten_processes_set_up_at_once(shared_url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(process(set_up, shared_url)) for _ in range(10)]
        assert [each.says() for each in processes] == ["ready"] * 10
        for each in processes:
            each.hears()
        assert [each.ends() for each in processes] == [("", 0)] * 10
    with SQLAlchemySaver.from_url(shared_url) as saver:
        assert saver.database.read(version) == HEAD


def test_head_is_the_newest_migration() -> None:
    names = [entry.name for entry in files("stellwerk.persistence.migrations.versions").iterdir()]
    assert max(name[:4] for name in names if name[:4].isdigit()) == HEAD


def test_migrations_make_the_tables_that_the_code_declares(url: str) -> None:
    with SQLAlchemySaver.from_url(url) as saver:
        saver.setup()
        saver.database.read(check_tables)


def declared() -> list[Table]:
    for module in (
        capabilities,
        checkpoints,
        conversion,
        effects,
        items,
        origins,
        routers,
        runs,
        traces,
    ):  # importing them is what declares the tables
        assert module.metadata is metadata
    return list(metadata.tables.values())


def check_tables(connection: Connection) -> None:
    inspector = inspect(connection)
    for table in declared():
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert columns.keys() == {column.name for column in table.c}, table.name
        assert {name: c["nullable"] for name, c in columns.items()} == {
            column.name: column.nullable for column in table.c
        }, table.name
        key = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key], table.name
        indexes = {index["name"]: index["column_names"] for index in inspector.get_indexes(table.name)}
        assert indexes == {
            str(index.name): [column.name for column in index.columns] for index in table.indexes
        }, table.name


_COLUMNS = 7  # that migrations add to tables of earlier ones


class CutOffError(Exception):
    """The process is no more."""


def cut_off(url: str, creations: int) -> bool:
    """Set up on a connection that is lost after so many statements that create something; whether it was."""
    engine = create_engine(url)

    @event.listens_for(engine, "after_cursor_execute")
    def lose(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal creations
        creations -= statement.lstrip().startswith(("CREATE ", "ALTER "))
        if creations == 0:
            connection.invalidate()
            raise CutOffError

    try:
        with SQLAlchemySaver.from_engine(engine) as saver:
            saver.setup()
    except (CutOffError, InvalidRequestError):
        return True
    finally:
        engine.dispose()
    return False


def test_migrations_cut_off_after_any_statement_go_on_from_there(tmp_path: Path) -> None:
    with database("mariadb", tmp_path) as url:
        # What there is stays there, so each attempt comes as far as one more statement.
        attempts = 0
        while attempts < 200 and cut_off(url, 1):
            attempts += 1
        with SQLAlchemySaver.from_url(url) as saver:
            saver.database.read(check_tables)
            assert saver.database.read(version) == HEAD
    # One for each table, also that of the version, for each index, and for each column that came later.
    assert attempts == 1 + sum(1 + len(table.indexes) for table in declared()) + _COLUMNS


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_migrations_cut_off_leave_nothing_where_they_are_a_transaction(backend: str, tmp_path: Path) -> None:
    with database(backend, tmp_path) as url:
        assert cut_off(url, 10)
        engine = create_engine(url)
        assert inspect(engine).get_table_names() == []
        engine.dispose()
        with SQLAlchemySaver.from_url(url) as saver:
            saver.setup()
            saver.database.read(check_tables)


def test_each_earlier_version_is_brought_up_to_date(url: str) -> None:
    for revision in [f"{number:04}" for number in range(1, int(HEAD) + 1)]:
        with SQLAlchemySaver.from_url(url) as saver:
            saver.database._ready.set()  # or the first call would go to the newest at once
            saver.database.write(lambda connection, to=revision: upgrade(connection, to))  # type: ignore[misc]
            assert saver.database.read(version) == revision


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url:
        with SQLAlchemySaver.from_url(url) as saver:
            saver.setup()
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE stellwerk_version SET version_num = '9999'"))
        engine.dispose()
        with (
            SQLAlchemySaver.from_url(url) as saver,
            pytest.raises(DatabaseError, match=r"of version 9999, and this Stellwerk knows .* upgrade it"),
        ):
            saver.get_tuple({"configurable": {"thread_id": "t"}})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("oracle://scott:tiger@host/x", "'oracle' is not supported; use sqlite, postgresql, mysql, mariadb"),
        ("mysql+aiomysql://u:tiger@h/x", "use asyncmy"),
        ("postgresql://u:tiger@h:port/x", "malformed"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SQLAlchemySaver.from_url(url)
    assert "tiger" not in str(caught.value)


def test_an_engine_of_the_caller_stays_open(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'own.sqlite'}")
    with SQLAlchemySaver.from_engine(engine) as saver:
        saver.setup()
        assert saver.get_tuple({"configurable": {"thread_id": "t"}}) is None
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM stellwerk_checkpoints")).scalar() == 0
    engine.dispose()
