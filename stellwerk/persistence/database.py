"""Two thin drivers, sync and async, for units of work.

A unit is a plain function of a `Connection`: what it does is written once. `AsyncDatabase` runs the same
function through SQLAlchemy's bridge (`AsyncConnection.run_sync`), or, for SQLite, in a thread: there a
whole unit costs one hop to a thread, where an async driver pays one for each statement.

A unit may run more than once, as what passes by itself (a deadlock, a locked file, a server that
restarts) is tried again; so each has to be idempotent, and must touch nothing but the database.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence.engine import async_engine, stop_preparing, sync_engine
from stellwerk.persistence.executor import ConnectionExecutor, Executor, FastWrite, Wordings
from stellwerk.persistence.group_commit import GroupCommit
from stellwerk.persistence.retry import lost_statement, passes
from stellwerk.persistence.sqlite_connections import SQLiteConnections
from stellwerk.persistence.transaction import Unit, autocommitted, brought_up_to_date, committed
from stellwerk.persistence.urls import parse_url, shown

T = TypeVar("T")
U = TypeVar("U")
FastUnit = Callable[[Executor], T]

# asyncpg raises the socket's own errors where it cannot connect.
FAILURES = (DBAPIError, PoolTimeoutError, OSError, sqlite3.Error)
PATIENCE = 20.0  # seconds; PostgreSQL restarts in less
_THREADS = 8  # for SQLite from async code: writers take turns, so more would only wait


class Database:
    """A database for sync code; `from_url` or `from_engine` makes one.

    An engine that the caller owns is never disposed of. After a fork, the child leaves the parent's
    connections alone and makes its own; for an engine of the caller's, that is up to the caller
    (`engine.dispose(close=False)` in the child).
    """

    def __init__(self, engine: Engine, *, owned: bool, patience: float = PATIENCE) -> None:
        self._engine = engine
        self._owned = owned
        self._patience = patience
        self._sqlite = engine.dialect.name == "sqlite"
        self._make_locks()
        self._wordings = Wordings(engine.dialect)
        # Not on the caller's engine: connections of it that stay open would surprise its owner.
        self._files = SQLiteConnections(engine, self._wordings) if self._sqlite and owned else None
        self._ready = _Ready()
        self._closed = False
        self._inherited: list[Any] = []
        if owned:
            event.listen(engine, "checkin", self._returned)
        _forkable.add(self)

    @classmethod
    def from_url(cls, url: str | URL | os.PathLike[str], *, pool_size: int = 10) -> Self:
        """A database of its own pool; see `parse_url` for what a URL may be.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if its driver is not installed.
        """
        return cls(sync_engine(parse_url(url), pool_size), owned=True)

    @classmethod
    def from_engine(cls, engine: Engine) -> Self:
        """A database on the caller's engine."""
        return cls(engine, owned=False)

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql`, `mysql` or `mariadb`."""
        return self._engine.dialect.name

    @property
    def url(self) -> URL:
        """Where the database is."""
        return self._engine.url

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def setup(self) -> None:
        """Create or migrate the tables; safe when several processes do so at once.

        Raises:
            DatabaseError: if the database cannot be reached, or is of a newer version of Stellwerk.
        """
        self._attempt(lambda: self._locked(self._set_up, brought_up_to_date, write=True))
        self._ready.set()

    def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads; each of its statements sees the database as it then is.

        Raises:
            DatabaseError: if the database fails, after retries of what may pass.
        """
        self._ready.ensure(self.setup)
        return self._attempt(lambda: self._locked(self._read, unit, write=False))

    def write(self, unit: Unit[T], *, one_statement: bool = False) -> T:
        """Run a unit in a transaction.

        Args:
            unit: what to do.
            one_statement: whether it is a single statement, which needs no transaction around it.

        Raises:
            DatabaseError: if the database fails, after retries of what may pass.
        """
        self._ready.ensure(self.setup)
        run = self._read if one_statement and not self._sqlite else self._write
        return self._attempt(lambda: self._locked(run, unit, write=True))

    def fast_read(self, unit: FastUnit[T]) -> T:
        """As `read`, for the few statements that every step of a graph needs."""
        self._ready.ensure(self.setup)
        if files := self._files:
            return self._attempt(lambda: self._locked(files.read, unit, write=False))
        return self._attempt(lambda: self._locked(self._read, self._fast(unit), write=False))

    def fast_write(self, unit: FastWrite) -> None:
        """As `write`, for the few statements that every step of a graph needs."""
        self._ready.ensure(self.setup)
        if files := self._files:
            return self._attempt(lambda: self._locked(files.write, unit, write=True))
        alone = unit.one_statement(self.dialect) and not self._sqlite
        run: Callable[[Unit[None]], None] = self._read if alone else self._write
        return self._attempt(lambda: self._locked(run, self._fast(unit), write=True))

    def close(self) -> None:
        """Close the pool, if it is not the caller's; whatever is called later raises DatabaseError."""
        self._closed = True
        if self._files is not None:
            self._files.close()
        if self._owned:
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _returned(self, _: object, record: ConnectionPoolEntry) -> None:
        # Another thread had it when the pool was closed, which nobody takes from any more.
        if self._closed:
            record.close()

    def _make_locks(self) -> None:
        # One connection at a time for a database in memory, which is one connection.
        self._single = threading.RLock() if isinstance(self._engine.pool, StaticPool) else None
        # SQLite writes one transaction at a time; a lock hands over at once where SQLite would poll.
        self._writing = threading.RLock() if self._sqlite else None

    def _after_fork(self) -> None:
        self._make_locks()
        self._ready.after_fork()
        if self._files is not None:
            self._files.after_fork()
        if self._owned:
            self._inherited.append(_new_pool(self._engine))

    def _read(self, unit: Unit[T]) -> T:
        with self._engine.connect() as connection:
            return autocommitted(connection, unit)

    def _set_up(self, unit: Unit[None]) -> None:
        with self._engine.connect() as connection:
            unit(connection)

    def _write(self, unit: Unit[T]) -> T:
        with self._engine.connect() as connection:
            return committed(connection, unit)

    def _fast(self, unit: FastUnit[T]) -> Unit[T]:
        return lambda connection: unit(ConnectionExecutor(connection, self._wordings))

    def _locked(self, run: Callable[[U], T], unit: U, *, write: bool) -> T:
        lock = self._single or (self._writing if write else None)
        if lock is None:
            return run(unit)
        with lock:
            return run(unit)

    def _attempt(self, work: Callable[[], T]) -> T:
        started = time.monotonic()
        tries = 0
        while True:
            if self._closed:
                raise closed_error(self._engine.url)
            try:
                result = work()
            except FAILURES as error:
                pause = _pause(error, tries, time.monotonic() - started, self._allowed())
                if pause is None:
                    raise database_error(self._engine.url, error) from error
                if self._owned and lost_statement(error):
                    stop_preparing(self._engine)
                    self._engine.dispose()
                tries += 1
                time.sleep(pause)
            else:
                self._ready.reached = True
                return result

    def _allowed(self) -> float:
        # A server that was never reached is more likely a wrong URL than one that restarts.
        return self._patience if self._ready.reached or self._sqlite else 0.0


class AsyncDatabase:
    """As `Database`, for async code: the same methods. It belongs to the event loop that first uses it."""

    def __init__(self, engine: AsyncEngine | Engine, *, owned: bool, patience: float = PATIENCE) -> None:
        self._owned = owned
        self._patience = patience
        self._ready = _Ready()
        self._threads: ThreadPoolExecutor | None = None
        self._sync: Database | None = None
        self._engine: AsyncEngine | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._inherited: list[Any] = []
        if isinstance(engine, Engine):
            self._sync = Database(engine, owned=owned, patience=patience)
            self._make_threads(self._sync)
        else:
            self._engine = engine
            self._wordings = Wordings(engine.dialect)
        _forkable.add(self)

    @classmethod
    def from_url(cls, url: str | URL | os.PathLike[str], *, pool_size: int = 10) -> Self:
        """As `Database.from_url`."""
        parsed = parse_url(url, asynchronous=True)
        if parsed.get_backend_name() == "sqlite":
            return cls(sync_engine(parsed, pool_size), owned=True)
        return cls(async_engine(parsed, pool_size), owned=True)

    @classmethod
    def from_engine(cls, engine: AsyncEngine) -> Self:
        """As `Database.from_engine`."""
        return cls(engine, owned=False)

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql`, `mysql` or `mariadb`."""
        return self._sync.dialect if self._sync else self._async.dialect.name

    @property
    def _async(self) -> AsyncEngine:
        assert self._engine is not None
        return self._engine

    async def setup(self) -> None:
        """As `Database.setup`."""
        self._open()
        if self._sync:
            await self._in_thread(self._sync.setup)
        else:
            await self._attempt(self._set_up)
        self._ready.set()

    async def read(self, unit: Unit[T]) -> T:
        """As `Database.read`."""
        self._open()
        if self._sync:
            return await self._in_thread(self._sync.read, unit)
        await self._ready.aensure(self.setup)
        return await self._attempt(lambda: self._read(unit))

    async def write(self, unit: Unit[T], *, one_statement: bool = False) -> T:
        """As `Database.write`."""
        self._open()
        if self._sync:
            return await self._in_thread(self._sync.write, unit)
        await self._ready.aensure(self.setup)
        return await self._attempt(lambda: self._read(unit) if one_statement else self._write(unit))

    async def fast_read(self, unit: FastUnit[T]) -> T:
        """As `Database.fast_read`."""
        self._open()
        if self._sync:
            return await self._in_thread(self._sync.fast_read, unit)
        return await self.read(self._fast(unit))

    async def fast_write(self, unit: FastWrite) -> None:
        """As `Database.fast_write`."""
        self._open()
        if self._sync:
            return await self._group.write(unit)
        return await self.write(self._fast(unit), one_statement=unit.one_statement(self.dialect))

    async def close(self) -> None:
        """As `Database.close`; writes that still wait fail."""
        if self._closed:
            return
        self._closed = True
        if self._sync:
            assert self._threads is not None
            try:
                await self._in_thread(self._sync.close)
            finally:
                self._threads.shutdown(wait=False)
        elif self._owned:
            await self._async.dispose()

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def from_thread(self, work: Coroutine[Any, Any, T], sync: str) -> T:
        """Wait, in another thread than the event loop's, for work that is done there.

        Args:
            work: what an async class does for a call of one of its sync methods.
            sync: the class for sync code, for the message.

        Raises:
            InputError: if no event loop runs, or if it is this thread's own.
        """
        problem = None
        if self.loop is None or not self.loop.is_running():
            problem = f"no event loop runs it; use {sync} in sync code"
        elif self.loop is _running():
            problem = (
                "its event loop would wait for itself; await the method of the same name with an 'a' in front"
            )
        if problem or self.loop is None:
            work.close()
            raise InputError(f"Async{sync} was called in sync code, and {problem}")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def _fast(self, unit: FastUnit[T]) -> Unit[T]:
        return lambda connection: unit(ConnectionExecutor(connection, self._wordings))

    def _open(self) -> None:
        if self._closed:
            raise closed_error(self._sync.url if self._sync else self._async.url)
        self.loop = asyncio.get_running_loop()

    def _make_threads(self, sync: Database) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stellwerk-sqlite")
        self._group = GroupCommit(sync.fast_write, self._threads)

    def _after_fork(self) -> None:
        self.loop = None
        self._ready.after_fork()
        if self._sync:
            self._make_threads(self._sync)
        elif self._owned:
            self._inherited.append(_new_pool(self._async.sync_engine))

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _read(self, unit: Unit[T]) -> T:
        async with self._async.connect() as connection:
            return await connection.run_sync(autocommitted, unit)

    async def _set_up(self) -> None:
        async with self._async.connect() as connection:
            await connection.run_sync(brought_up_to_date)

    async def _write(self, unit: Unit[T]) -> T:
        async with self._async.connect() as connection:
            return await connection.run_sync(committed, unit)

    async def _attempt(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        started = time.monotonic()
        tries = 0
        while True:
            if self._closed:
                raise closed_error(self._async.url)
            try:
                result = await work()
            except FAILURES as error:
                allowed = self._patience if self._ready.reached else 0.0
                pause = _pause(error, tries, time.monotonic() - started, allowed)
                if pause is None:
                    raise database_error(self._async.url, error) from error
                if self._owned and lost_statement(error):
                    stop_preparing(self._async.sync_engine)
                    await self._async.dispose()
                tries += 1
                await asyncio.sleep(pause)
            else:
                self._ready.reached = True
                return result


class _Ready:
    """Whether the tables are known to be there; they are looked for at first use."""

    def __init__(self) -> None:
        self.reached = False
        self._is_set = False
        self._lock = threading.Lock()
        self._task: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True

    def after_fork(self) -> None:
        self._lock, self._task = threading.Lock(), None

    def ensure(self, setup: Callable[[], None]) -> None:
        if not self._is_set:
            with self._lock:
                if not self._is_set:
                    setup()

    async def aensure(self, setup: Callable[[], Any]) -> None:
        if not self._is_set:
            if self._task is None or self._task.done():
                self._task = asyncio.ensure_future(setup())
            await asyncio.shield(self._task)


_forkable: weakref.WeakSet[Database | AsyncDatabase] = weakref.WeakSet()


def _new_pool(engine: Engine) -> Any:
    """Give the engine a new pool; the old one has to be kept, or the parent's connections may be closed."""
    old = engine.pool
    if not isinstance(old, StaticPool):  # a database in memory is its connection, and the child has a copy
        engine.dispose(close=False)
    return old


def _after_fork() -> None:
    for database in list(_forkable):
        database._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def database_error(url: URL, error: Exception) -> DatabaseError:
    """What failed, without the statement, whose parameters may be anything, and without the password."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseError(
            f"the database {shown(url)}: no connection of the pool became free in time; "
            "give it a larger pool_size"
        )
    cause = (error.orig if isinstance(error, DBAPIError) else None) or error
    said = str(cause).strip().partition("\n")[0]
    return DatabaseError(f"the database {shown(url)} failed: {type(cause).__name__}: {said[:300]}")


def closed_error(url: URL) -> DatabaseError:
    """What a closed database answers."""
    return DatabaseError(f"the database {shown(url)} is closed; open it anew, or close it later")


def _pause(error: Exception, tries: int, elapsed: float, patience: float) -> float | None:
    if not passes(error) or elapsed >= patience:
        return None
    # Full jitter: those that collided must not meet again.
    return random.uniform(0.001, min(1.0, 0.01 * 2**tries))  # noqa: S311
