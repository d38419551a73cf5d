"""How the checkpointer's few hot statements reach the database.

SQLAlchemy writes each statement once in the dialect's words; after that its text goes to the driver as it
is. Working out parameters, types and results anew for each call costs several times what SQLite itself
needs to answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, cast
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.exc import DBAPIError, OperationalError

Parameters = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]


class Executor(Protocol):
    """Runs statements, whose values are bytes, text and whole numbers, in a transaction or each by itself."""

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql`, `mysql` or `mariadb`."""
        ...

    def fetch(self, statement: ClauseElement, parameters: Parameters) -> Rows:
        """The rows of a query."""
        ...

    def change(self, statement: ClauseElement, parameters: Parameters) -> int:
        """Insert, update or delete; the number of rows."""
        ...


class FastWrite(Protocol):
    """A unit of hot statements that writes."""

    def __call__(self, executor: Executor) -> None:
        """Write."""
        ...

    def one_statement(self, dialect: str) -> bool:
        """Whether that is a single statement, which needs no transaction around it."""
        ...


class HotText(str):
    """The words of a hot statement, so that a cursor knows one."""

    __slots__ = ()


class Wording(NamedTuple):
    """A statement in a driver's words.

    `order` is that of its parameters, where they have no names; `fixed` are those that it brings along.
    """

    text: str
    order: tuple[str, ...] | None
    fixed: dict[str, Any]

    def arguments(self, parameters: Parameters) -> Any:
        """The parameters as the driver takes them."""
        if self.fixed:
            parameters = {**self.fixed, **parameters}
        return parameters if self.order is None else tuple([parameters[name] for name in self.order])


class Wordings:
    """The statements of one dialect that were put into words so far."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._known: WeakKeyDictionary[ClauseElement, Wording] = WeakKeyDictionary()

    def of(self, statement: ClauseElement) -> Wording:
        """The statement in the dialect's words."""
        known = self._known.get(statement)
        if known is None:
            compiled: Any = statement.compile(dialect=self.dialect)
            order = compiled.positiontup
            fixed = {name: value for name, value in compiled.params.items() if value is not None}
            kind = HotText if self.dialect.driver.startswith("psycopg") else str  # asyncpg takes no other
            known = Wording(kind(compiled), None if order is None else tuple(order), fixed)
            self._known[statement] = known
        return known


class SQLiteExecutor:
    """On a connection of Python's own `sqlite3`."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection, wordings: Wordings) -> None:
        self._connection = connection
        self._wordings = wordings

    def fetch(self, statement: ClauseElement, parameters: Parameters) -> Rows:
        """The rows of a query."""
        wording = self._wordings.of(statement)
        return self._connection.execute(wording.text, wording.arguments(parameters)).fetchall()

    def change(self, statement: ClauseElement, parameters: Parameters) -> int:
        """Insert, update or delete; the number of rows."""
        wording = self._wordings.of(statement)
        return self._connection.execute(wording.text, wording.arguments(parameters)).rowcount


class ConnectionExecutor:
    """On the driver's cursors of a connection of SQLAlchemy's."""

    def __init__(self, connection: Connection, wordings: Wordings) -> None:
        self._connection = connection
        self._wordings = wordings

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql`, `mysql` or `mariadb`."""
        return self._connection.dialect.name

    def fetch(self, statement: ClauseElement, parameters: Parameters) -> Rows:
        """The rows of a query."""
        with self._run(statement, parameters) as cursor:
            return cast(Rows, cursor.fetchall())

    def change(self, statement: ClauseElement, parameters: Parameters) -> int:
        """Insert, update or delete; the number of rows."""
        with self._run(statement, parameters) as cursor:
            return cast(int, cursor.rowcount)

    @contextmanager
    def _run(self, statement: ClauseElement, parameters: Parameters) -> Iterator[Any]:
        wording = self._wordings.of(statement)
        dialect: Any = self._connection.dialect
        raw = self._connection.connection
        cursor: Any = None
        try:
            cursor = raw.cursor()
            cursor.execute(wording.text, wording.arguments(parameters))
            yield cursor
            cursor.close()
        except dialect.loaded_dbapi.Error as error:
            lost = dialect.is_disconnect(error, raw.dbapi_connection, cursor)
            if lost:
                self._connection.invalidate(error)
            passing = isinstance(error, dialect.loaded_dbapi.OperationalError)
            raise (OperationalError if passing else DBAPIError)(
                wording.text, None, error, hide_parameters=True, connection_invalidated=lost
            ) from error
