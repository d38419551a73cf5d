"""LangGraph checkpointers on any SQL database: `SQLAlchemySaver` and `AsyncSQLAlchemySaver`."""

from __future__ import annotations

import asyncio
import copy
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence import checkpoint_steps as steps
from stellwerk.persistence import checkpoint_units as units
from stellwerk.persistence.allowed import Allowed
from stellwerk.persistence.checkpoint_codec import Address, Codec, run_key, thread_key
from stellwerk.persistence.checkpoint_pages import Listing
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.executor import FastWrite
from stellwerk.persistence.fenced import fenced
from stellwerk.persistence.serde import StrictEncryptedSerializer, StrictSerializer

T = TypeVar("T")
Url = str | URL | os.PathLike[str]


class _Saver(BaseCheckpointSaver[str]):
    """What both checkpointers share: how a call becomes a unit of work, and rows become checkpoints."""

    def __init__(self, *, serde: SerializerProtocol | None, allow: Collection[Allowed]) -> None:
        if serde is not None and allow:
            raise InputError("give either serde or allow: a serializer of yours has a list of its own")
        super().__init__(serde=serde or StrictSerializer(allow))

    @property
    def _codec(self) -> Codec:
        return Codec(self.serde)  # at each call: `with_allowlist` gives a copy another serializer

    def get_next_version(self, current: str | int | float | None, channel: None) -> str:
        """The version after this one.

        Its random part keeps two branches apart that write the same channel in the same step.
        """
        number, _, _ = str(current or 0).partition(".")
        # As wide as the versions of the checkpointer that the thread began with, so that texts sort.
        width = max(8, len(number)) if isinstance(current, str) else 8
        return f"{int(number) + 1:0{width}}.{random.getrandbits(48):012x}"

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Self:
        """This checkpointer, on the same database, with more types allowed."""
        serde = self.serde
        if isinstance(serde, StrictSerializer | StrictEncryptedSerializer):
            clone = copy.copy(self)
            clone.serde = serde.with_msgpack_allowlist(extra_allowlist)
            return clone
        return cast(Self, super().with_allowlist(extra_allowlist))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[FastWrite, RunnableConfig]:
        # Serialised here and not in the unit: the state may change while the unit waits for its turn.
        row, values = self._codec.checkpoint_rows(config, checkpoint, metadata, new_versions)
        unit = fenced(config, steps.Save(row, values))
        return unit, Address.of(config).config(checkpoint["id"])

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> FastWrite:
        rows = self._codec.write_rows(config, writes, task_id, task_path)
        anew = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        return fenced(config, steps.SaveWrites(rows, anew=anew))

    def _histories(
        self, channels: Sequence[str], collected: Mapping[str, Any], seeds: Mapping[str, Any]
    ) -> dict[str, DeltaChannelHistory]:
        codec = self._codec
        histories: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            # In the order of the walk, which sorted each checkpoint's writes by itself.
            history: DeltaChannelHistory = {"writes": [codec.write(row) for row in collected[channel]]}
            if channel in seeds:
                record, row = seeds[channel]
                values = record.checkpoint["channel_values"]
                if row is None and channel not in values:
                    raise DatabaseError(
                        f"a value of channel {channel!r} was deleted; its state cannot be rebuilt"
                    )
                history["seed"] = values[channel] if row is None else codec.value(row)
            histories[channel] = history
        return histories


class SQLAlchemySaver(_Saver):
    """A checkpointer on SQLite, PostgreSQL, MySQL or MariaDB, for `graph.compile(checkpointer=...)`.

    Its async methods run the sync ones in a thread, so that `ainvoke` works with it as well;
    `AsyncSQLAlchemySaver` does without threads.

    Example:
        ```python
        with SQLAlchemySaver.from_url("postgresql://postgres@localhost/app") as saver:
            graph = builder.compile(checkpointer=saver)
        ```

    Args:
        database: see `Database`; `from_url` and `from_engine` make one.
        serde: a serializer of yours, `StrictEncryptedSerializer.with_key(...)` for instance.
        allow: types of your state that may be built from what is stored, where they are more than
            plain data, messages and documents; those inside a given model or TypedDict count as given.
    """

    def __init__(
        self,
        database: Database,
        *,
        serde: SerializerProtocol | None = None,
        allow: Collection[Allowed] = (),
    ) -> None:
        super().__init__(serde=serde, allow=allow)
        self.database = database

    @classmethod
    def from_url(
        cls, url: Url, *, serde: SerializerProtocol | None = None, allow: Collection[Allowed] = ()
    ) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url), serde=serde, allow=allow)

    @classmethod
    def from_engine(
        cls, engine: Engine, *, serde: SerializerProtocol | None = None, allow: Collection[Allowed] = ()
    ) -> Self:
        """On an engine of yours, which is never disposed of."""
        return cls(Database.from_engine(engine), serde=serde, allow=allow)

    def setup(self) -> None:
        """Create or migrate the tables; the first call of any method does so by itself."""
        self.database.setup()

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the latest of its thread and namespace."""
        at, codec = Address.of(config), self._codec
        found = self.database.fast_read(lambda e: steps.get(e, codec, at))
        return None if found is None else self._codec.whole(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first; no connection is held while you work on one.

        Args:
            config: a thread, with or without a namespace; None for all threads.
            filter: metadata that has to be there and equal.
            before: only checkpoints older than this one.
            limit: how many at most.
        """
        listing = Listing(config, filter, before, limit)
        while listing.more:
            for found in listing.take(*self.database.fast_read(listing.page(self._codec))):
                yield self._codec.whole(found)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint as the child of the one that the config names.

        Raises:
            LeaseError: if the config has a lease, and that has expired or was taken over; nothing is saved.
        """
        unit, saved = self._put(config, checkpoint, metadata, new_versions)
        self.database.fast_write(unit)
        return saved

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote on top of the checkpoint that the config names.

        Raises:
            LeaseError: as `put`.
        """
        self.database.fast_write(self._put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete the checkpoints of a thread, with their values and writes.

        What `RunStore`, `TraceStore` and `SQLAlchemyStore` keep of it stays: its runs and its lease, its
        traces, and whatever items were stored for it. `stellwerk db prune` deletes old runs and traces.
        """
        self.database.write(lambda c: units.delete_thread(c, thread_key(str(thread_id))))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that these runs made."""
        keys, codec = _runs(run_ids), self._codec
        self.database.write(lambda c: units.delete_for_runs(c, codec, keys))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history.

        Raises:
            InputError: if there is a target thread already.
        """
        source, target, name = _copied(source_thread_id, target_thread_id)
        if self.database.read(lambda c: units.has_thread(c, target)):
            raise units.occupied(target_thread_id)
        self.database.write(lambda c: units.copy_thread(c, source, target, name))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what threads no longer need.

        Args:
            thread_ids: which threads.
            strategy: `keep_latest` keeps the latest checkpoint of each namespace, with the ancestors that
                a DeltaChannel of it is rebuilt from; `delete` (or `delete_all`) deletes the threads.

        Raises:
            InputError: if the strategy is another, or `thread_ids` is a single text.
        """
        for unit in _pruning(self._codec, thread_ids, strategy):
            self.database.write(unit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What DeltaChannels are rebuilt from; see `BaseCheckpointSaver`."""
        if not channels:
            return {}
        at, codec = Address.of(config), self._codec
        return self._histories(
            channels, *self.database.fast_read(lambda e: steps.history(e, codec, at, channels))
        )

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`."""
        listing = Listing(config, filter, before, limit)
        while listing.more:
            page = await asyncio.to_thread(self.database.fast_read, listing.page(self._codec))
            for found in listing.take(*page):
                yield self._codec.whole(found)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`."""
        unit, saved = self._put(config, checkpoint, metadata, new_versions)
        await asyncio.to_thread(self.database.fast_write, unit)
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `put_writes`."""
        unit = self._put_writes(config, writes, task_id, task_path)
        await asyncio.to_thread(self.database.fast_write, unit)

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `delete_for_runs`."""
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `copy_thread`."""
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `prune`."""
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`."""
        return await asyncio.to_thread(self.get_delta_channel_history, config=config, channels=channels)


class AsyncSQLAlchemySaver(_Saver):
    """As `SQLAlchemySaver`, for async code; it belongs to the event loop that first uses it.

    Its sync methods may be called from other threads than the loop's.

    Example:
        ```python
        async with AsyncSQLAlchemySaver.from_url("runs.sqlite") as saver:
            graph = builder.compile(checkpointer=saver)
        ```
    """

    def __init__(
        self,
        database: AsyncDatabase,
        *,
        serde: SerializerProtocol | None = None,
        allow: Collection[Allowed] = (),
    ) -> None:
        super().__init__(serde=serde, allow=allow)
        self.database = database

    @classmethod
    def from_url(
        cls, url: Url, *, serde: SerializerProtocol | None = None, allow: Collection[Allowed] = ()
    ) -> Self:
        """As `SQLAlchemySaver.from_url`."""
        return cls(AsyncDatabase.from_url(url), serde=serde, allow=allow)

    @classmethod
    def from_engine(
        cls, engine: AsyncEngine, *, serde: SerializerProtocol | None = None, allow: Collection[Allowed] = ()
    ) -> Self:
        """As `SQLAlchemySaver.from_engine`."""
        return cls(AsyncDatabase.from_engine(engine), serde=serde, allow=allow)

    async def setup(self) -> None:
        """As `SQLAlchemySaver.setup`."""
        await self.database.setup()

    async def close(self) -> None:
        """As `SQLAlchemySaver.close`."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `SQLAlchemySaver.get_tuple`."""
        at, codec = Address.of(config), self._codec
        found = await self.database.fast_read(lambda e: steps.get(e, codec, at))
        return None if found is None else self._codec.whole(found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `SQLAlchemySaver.list`."""
        listing = Listing(config, filter, before, limit)
        while listing.more:
            for found in listing.take(*await self.database.fast_read(listing.page(self._codec))):
                yield self._codec.whole(found)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `SQLAlchemySaver.put`."""
        unit, saved = self._put(config, checkpoint, metadata, new_versions)
        await self.database.fast_write(unit)
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `SQLAlchemySaver.put_writes`."""
        await self.database.fast_write(self._put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """As `SQLAlchemySaver.delete_thread`."""
        await self.database.write(lambda c: units.delete_thread(c, thread_key(str(thread_id))))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `SQLAlchemySaver.delete_for_runs`."""
        keys, codec = _runs(run_ids), self._codec
        await self.database.write(lambda c: units.delete_for_runs(c, codec, keys))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `SQLAlchemySaver.copy_thread`."""
        source, target, name = _copied(source_thread_id, target_thread_id)
        if await self.database.read(lambda c: units.has_thread(c, target)):
            raise units.occupied(target_thread_id)
        await self.database.write(lambda c: units.copy_thread(c, source, target, name))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `SQLAlchemySaver.prune`."""
        for unit in _pruning(self._codec, thread_ids, strategy):
            await self.database.write(unit)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `SQLAlchemySaver.get_delta_channel_history`."""
        if not channels:
            return {}
        at, codec = Address.of(config), self._codec
        found = await self.database.fast_read(lambda e: steps.history(e, codec, at, channels))
        return self._histories(channels, *found)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`, from another thread."""
        return self._from_thread(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`, from another thread."""
        listing = Listing(config, filter, before, limit)
        while listing.more:
            for found in listing.take(*self._from_thread(self.database.fast_read(listing.page(self._codec)))):
                yield self._codec.whole(found)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`, from another thread."""
        return self._from_thread(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `aput_writes`, from another thread."""
        self._from_thread(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`, from another thread."""
        self._from_thread(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `adelete_for_runs`, from another thread."""
        self._from_thread(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `acopy_thread`, from another thread."""
        self._from_thread(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `aprune`, from another thread."""
        self._from_thread(self.aprune(thread_ids, strategy=strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `aget_delta_channel_history`, from another thread."""
        return self._from_thread(self.aget_delta_channel_history(config=config, channels=channels))

    def _from_thread(self, work: Coroutine[Any, Any, T]) -> T:
        return self.database.from_thread(work, "SQLAlchemySaver")


def _copied(source: str, target: str) -> tuple[bytes, bytes, bytes]:
    name = str(target).encode("utf-8", "surrogatepass")
    return thread_key(str(source)), thread_key(str(target)), name


def _runs(run_ids: Sequence[str]) -> list[bytes]:
    if isinstance(run_ids, str):
        raise InputError(f"run_ids is the single text {run_ids!r}; give a list")
    return [name for run in run_ids if (name := run_key(run)) is not None]


def _pruning(
    codec: Codec, thread_ids: Sequence[str], strategy: str
) -> Iterator[Callable[[Connection], None]]:
    if isinstance(thread_ids, str):
        raise InputError(f"thread_ids is the single text {thread_ids!r}; give a list")
    if strategy not in ("keep_latest", "delete", "delete_all"):
        raise InputError(f"there is no strategy {strategy!r} of pruning; use 'keep_latest' or 'delete'")
    for thread in thread_ids:
        name = thread_key(str(thread))
        if strategy == "keep_latest":
            yield lambda c, name=name: units.keep_latest(c, codec, name)  # type: ignore[misc]
        else:
            yield lambda c, name=name: units.delete_thread(c, name)  # type: ignore[misc]
