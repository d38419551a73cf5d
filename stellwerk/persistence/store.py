"""LangGraph stores on any SQL database: `SQLAlchemyStore` and `AsyncSQLAlchemyStore`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Self

from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig
from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.persistence import pgvector
from stellwerk.persistence import store_units as units
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.store_batch import Batch
from stellwerk.persistence.store_codec import expiry
from stellwerk.persistence.sweeper import Sweeper
from stellwerk.persistence.vectors import VectorIndex

logger = logging.getLogger(__name__)
Url = str | URL | os.PathLike[str]
Clock = Callable[[], datetime]
_TTL_KEYS = ("refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes")
_INTERVAL = 5.0  # minutes between sweeps, where nothing says otherwise


def _now() -> datetime:
    return datetime.now(UTC)


class _Pgvector:
    """Where pgvector is, once that was looked for."""

    def __init__(self) -> None:
        self.schema: str | None = None
        self._known = False

    def unknown(self, dialect: str) -> bool:
        return dialect == "postgresql" and not self._known

    def found(self, schema: str | None) -> None:
        self.schema, self._known = schema, True


class _Store(BaseStore):
    """What both stores share: their settings, and how operations become a batch."""

    supports_ttl = True

    def __init__(self, *, index: IndexConfig | None, ttl: TTLConfig | None, clock: Clock) -> None:
        super().__init__()
        self.index_config = index
        self.ttl_config = _checked_ttl(ttl)
        self._index = None if index is None else VectorIndex(index)
        self.embeddings = self._index.embeddings if self._index else None
        self._clock = clock
        self._pgvector = _Pgvector()

    def _batch(self, ops: Iterable[Op]) -> Batch:
        return Batch(ops, now=self._clock(), index=self._index)

    def _interval(self, minutes: float | None) -> float:
        if minutes is None:
            minutes = (self.ttl_config or {}).get("sweep_interval_minutes") or _INTERVAL
        _check_interval("sweep_interval_minutes", minutes)
        return minutes * 60


class SQLAlchemyStore(_Store):
    """A store on SQLite, PostgreSQL, MySQL or MariaDB, for `graph.compile(store=...)`.

    It does what LangGraph's own stores do, and means the same on every database:

    - A batch is one transaction. Its reads see what was there before it; of several writes to one item the
      last counts.
    - Search without a query, or without `index`, gives those items first that were written last, and those
      of one moment in a fixed order.
    - Search with a query gives those first that have the nearest vector, whatever their number, and then
      those that have none, with the score None. Vectors are compared exactly; near ones of equal score are
      in the order of a search without a query. On PostgreSQL, pgvector makes that faster where the database
      has it, or lets this user create it (`CREATE EXTENSION vector`); what is found is the same.
    - For filters see `stellwerk.persistence.store_filter`; `limit` and `offset` count what matches.
    - An item that has expired is gone, whether it was swept or not; `omit_expired` of `ttl` changes nothing.
      Reading an item lets it live on for its whole time, unless `refresh_ttl` says otherwise.
    - A value has to be JSON; whatever else it holds is refused, and nothing of the batch is stored.

    Its async methods run the sync ones in a thread, so that `ainvoke` works with it as well;
    `AsyncSQLAlchemyStore` does without threads.

    Example:
        ```python
        with SQLAlchemyStore.from_url("postgresql://postgres@localhost/app") as store:
            graph = builder.compile(store=store)
        ```

    Args:
        database: see `Database`; `from_url` and `from_engine` make one.
        index: how items are found by meaning: LangGraph's `IndexConfig`, to which `distance_type` may be
            added as in `StoreIndexConfig`.
        ttl: how long items live, in minutes: LangGraph's `TTLConfig`.
        clock: what tells the time, with its zone.

    Raises:
        ConfigurationError: if a key of `index` or `ttl` is unknown or cannot be used.
    """

    def __init__(
        self,
        database: Database,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock = _now,
    ) -> None:
        super().__init__(index=index, ttl=ttl, clock=clock)
        self.database = database
        self._sweeper: Sweeper | None = None

    @classmethod
    def from_url(cls, url: Url, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL, `index` or `ttl` cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url), index=index, ttl=ttl)

    @classmethod
    def from_engine(
        cls, engine: Engine, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> Self:
        """On an engine of yours, which is never disposed of."""
        return cls(Database.from_engine(engine), index=index, ttl=ttl)

    def setup(self) -> None:
        """Create or migrate the tables; the first call of any method does so by itself.

        With `index`, on PostgreSQL, pgvector is looked for as well, and its extension created where this
        user may; where not, search does without.
        """
        self.database.setup()
        if self._index:
            self._pgvector_schema()

    def close(self) -> None:
        """Stop the sweeper, and close the pool, if it is its own."""
        self.stop_ttl_sweeper()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations, in one transaction if any of them writes.

        Raises:
            InputError: if one of them cannot be carried out; then none is.
            InvalidNamespaceError: if a namespace is not valid.
            DatabaseError: if the database fails.
        """
        batch, index = self._batch(ops), self._index
        texts = index.embed(batch.texts) if index else {}
        return self._run(batch, texts, index.embed_queries(batch.queries) if index else {})

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`."""
        batch, index = self._batch(ops), self._index
        texts = await index.aembed(batch.texts) if index else {}
        queries = await index.aembed_queries(batch.queries) if index else {}
        return await asyncio.to_thread(self._run, batch, texts, queries)

    def _run(self, batch: Batch, texts: dict[str, bytes], queries: dict[str, bytes]) -> list[Result]:
        unit = batch.unit(texts, queries, self._pgvector_schema() if queries else None)
        results, expiries = self.database.write(unit) if batch.writes else self.database.read(unit)
        if expiries:
            self.database.write(lambda c: units.refresh(c, expiries))
        return results

    def _pgvector_schema(self) -> str | None:
        if self._pgvector.unknown(self.database.dialect):
            self._pgvector.found(self.database.write(pgvector.find))
        return self._pgvector.schema

    def sweep_ttl(self) -> int:
        """Delete what has expired.

        Returns:
            How many items were deleted.
        """
        now, deleted, more = self._clock(), 0, True
        while more:
            swept, more = self.database.write(lambda c: units.sweep(c, now))
            deleted += swept
        return deleted

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Delete what has expired again and again, in a thread; one that runs already goes on.

        Args:
            sweep_interval_minutes: the pause before each sweep; that of `ttl`, or 5, if not given.

        Returns:
            A future that ends with the sweeper; cancelling it stops the sweeper.
        """
        if self._sweeper is None or not self._sweeper.running:
            self._sweeper = Sweeper(self.sweep_ttl, self._interval(sweep_interval_minutes))
        return self._sweeper.future

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the sweeper, if there is one.

        Args:
            timeout: how many seconds to wait for a sweep to end; None for as long as it takes.

        Returns:
            Whether it has stopped.
        """
        if self._sweeper is None or self._sweeper.stop(timeout):
            self._sweeper = None
            return True
        return False


class AsyncSQLAlchemyStore(_Store):
    """As `SQLAlchemyStore`, for async code; it belongs to the event loop that first uses it.

    Its sync methods may be called from other threads than the loop's.

    Example:
        ```python
        async with AsyncSQLAlchemyStore.from_url("memory.sqlite") as store:
            graph = builder.compile(store=store)
        ```
    """

    def __init__(
        self,
        database: AsyncDatabase,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock = _now,
    ) -> None:
        super().__init__(index=index, ttl=ttl, clock=clock)
        self.database = database
        self._sweeper: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: Url, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Self:
        """As `SQLAlchemyStore.from_url`."""
        return cls(AsyncDatabase.from_url(url), index=index, ttl=ttl)

    @classmethod
    def from_engine(
        cls, engine: AsyncEngine, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> Self:
        """As `SQLAlchemyStore.from_engine`."""
        return cls(AsyncDatabase.from_engine(engine), index=index, ttl=ttl)

    async def setup(self) -> None:
        """As `SQLAlchemyStore.setup`."""
        await self.database.setup()
        if self._index:
            await self._pgvector_schema()

    async def close(self) -> None:
        """As `SQLAlchemyStore.close`."""
        await self.stop_ttl_sweeper()
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `SQLAlchemyStore.batch`."""
        batch, index = self._batch(ops), self._index
        texts = await index.aembed(batch.texts) if index else {}
        queries = await index.aembed_queries(batch.queries) if index else {}
        unit = batch.unit(texts, queries, await self._pgvector_schema() if queries else None)
        write = self.database.write
        results, expiries = await (write(unit) if batch.writes else self.database.read(unit))
        if expiries:
            await write(lambda c: units.refresh(c, expiries))
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """As `abatch`, from another thread.

        Raises:
            InputError: if it is called in the event loop's own thread, or no loop runs.
        """
        return self.database.from_thread(self.abatch(ops), "SQLAlchemyStore")

    async def _pgvector_schema(self) -> str | None:
        if self._pgvector.unknown(self.database.dialect):
            self._pgvector.found(await self.database.write(pgvector.find))
        return self._pgvector.schema

    async def sweep_ttl(self) -> int:
        """As `SQLAlchemyStore.sweep_ttl`."""
        now, deleted, more = self._clock(), 0, True
        while more:
            swept, more = await self.database.write(lambda c: units.sweep(c, now))
            deleted += swept
        return deleted

    async def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> asyncio.Task[None]:
        """As `SQLAlchemyStore.start_ttl_sweeper`, in a task, which is given back."""
        if self._sweeper is None or self._sweeper.done():
            seconds = self._interval(sweep_interval_minutes)
            self._sweeper = asyncio.create_task(self._sweep_every(seconds), name="stellwerk-sweeper")
        return self._sweeper

    async def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """As `SQLAlchemyStore.stop_ttl_sweeper`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            done, _ = await asyncio.wait([self._sweeper], timeout=timeout)
            if not done:
                return False
            self._sweeper = None
        return True

    async def _sweep_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.sweep_ttl()
            except Exception as error:
                logger.warning("the sweep of expired items failed, and is tried again later: %s", error)


def _checked_ttl(config: TTLConfig | None) -> TTLConfig | None:
    if config is None:
        return None
    if unknown := sorted(set(config) - set(_TTL_KEYS)):
        raise ConfigurationError(f"ttl has the unknown key {unknown[0]!r}; use {', '.join(_TTL_KEYS)}")
    if (default := config.get("default_ttl")) is not None:
        try:
            expiry(default, _now())
        except InputError as error:
            raise ConfigurationError(f"default_ttl of ttl: {error}") from None
    if (interval := config.get("sweep_interval_minutes")) is not None:
        _check_interval("sweep_interval_minutes of ttl", interval)
    return config


def _check_interval(name: str, minutes: object) -> None:
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes > 0:
        raise ConfigurationError(f"{name} is {minutes!r}; give minutes above 0")
