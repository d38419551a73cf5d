"""What a step of a graph asks of the checkpointer: to save and to read checkpoints and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Insert,
    Integer,
    Select,
    and_,
    bindparam,
    cast,
    literal_column,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import ColumnElement

from stellwerk.errors import DatabaseError
from stellwerk.persistence.checkpoint_codec import (
    Address,
    BlobRow,
    CheckpointRow,
    Codec,
    Found,
    Record,
    WriteRow,
)
from stellwerk.persistence.executor import Executor
from stellwerk.persistence.insert import insert_rows, numbered
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes

_UPDATED = tuple(c.name for c in checkpoints.c if c.name not in ("thread", "ns", "checkpoint_id"))
_WRITTEN = ("task_path", "channel", "type", "value")
_ROWS = 16  # in one statement; each number of rows is a statement of its own
_BYTES = 1_000_000  # in one statement, unless a single row has more
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_LARGE = 500_000  # bytes; below, no server of today's is set so low that it matters
_ESCAPED = b"\0\n\r\\'\"\x1a"  # bytes that the drivers of MySQL send as two

_HERE = and_(checkpoints.c.thread == bindparam("thread"), checkpoints.c.ns == bindparam("ns"))
_ID = bindparam("checkpoint_id", type_=checkpoints.c.checkpoint_id.type)
_ONE: ColumnElement[int] = literal_column(
    "1", Integer
)  # not bound: PostgreSQL plans for a limit that it sees
_ROW = [checkpoints.c[name] for name in CheckpointRow._fields]
_BY_ID = select(*_ROW).where(_HERE, checkpoints.c.checkpoint_id == _ID)
_LATEST = select(*_ROW).where(_HERE).order_by(checkpoints.c.checkpoint_id.desc()).limit(_ONE)
_PACKET = text("SELECT @@max_allowed_packet")


def _with_writes(found: Select[Any], checkpoint_id: ColumnElement[Any]) -> CompoundSelect[Any]:
    """A checkpoint and its writes in one question; a write stands in columns of its types, as in `get`."""
    c, w = found.subquery("found").c, writes.c
    here = and_(w.thread == bindparam("thread"), w.ns == bindparam("ns"), w.checkpoint_id == checkpoint_id)
    row = (c.checkpoint_id, c.parent_id, c.type, c.checkpoint, c.metadata, c.metadata_type)
    return union_all(
        select(cast(null(), Integer), *row),
        select(w.idx, w.task_id, w.task_path, w.type, w.value, w.channel, null()).where(here),
    )


_LATEST_ID = _LATEST.with_only_columns(checkpoints.c.checkpoint_id).scalar_subquery()
_LATEST_WITH_WRITES = _with_writes(_LATEST, _LATEST_ID)
_BY_ID_WITH_WRITES = _with_writes(_BY_ID, _ID)


class Save:
    """Saves a checkpoint and its new values. A value that is there stays: that of a version never changes."""

    def __init__(self, row: dict[str, Any], values: list[dict[str, Any]]) -> None:
        self._row, self._values = row, values

    def __call__(self, executor: Executor) -> None:
        """Save.

        Raises:
            DatabaseError: if a value is larger than the server takes.
        """
        values = self._values
        _check_size(executor, [self._row["checkpoint"], self._row["metadata"], *(v["value"] for v in values)])
        if self.one_statement(executor.dialect):
            parameters = {**numbered([self._row]), **_prefixed(values)}
            executor.change(_save(executor.dialect, len(values)), parameters)
            return
        for part in _batches(values):
            executor.change(insert_rows(executor.dialect, blobs, len(part)), numbered(part))
        executor.change(_save(executor.dialect, 0), numbered([self._row]))

    def one_statement(self, dialect: str) -> bool:
        """PostgreSQL takes values and checkpoint in one, and so in one round trip."""
        return not self._values or (dialect == "postgresql" and len(self._values) <= _ROWS)


class SaveWrites:
    """Saves a task's writes; those that are there already are written anew, or stay."""

    def __init__(self, rows: list[dict[str, Any]], *, anew: bool) -> None:
        if anew:  # a row once: PostgreSQL sets none anew twice in a statement, and the last counts
            rows = list({row["idx"]: row for row in rows}.values())
        self._parts, self._columns = list(_batches(rows)), _WRITTEN if anew else ()

    def __call__(self, executor: Executor) -> None:
        """Save.

        Raises:
            DatabaseError: if a value is larger than the server takes.
        """
        _check_size(executor, [row["value"] for part in self._parts for row in part])
        for part in self._parts:
            executor.change(insert_rows(executor.dialect, writes, len(part), self._columns), numbered(part))

    def one_statement(self, dialect: str) -> bool:
        """Unless there are many."""
        return len(self._parts) <= 1


def get(executor: Executor, codec: Codec, at: Address) -> Found | None:
    """The checkpoint at an address."""
    keys = at.keys
    if at.checkpoint_id is None:
        rows = executor.fetch(_LATEST_WITH_WRITES, keys)
    else:
        rows = executor.fetch(_BY_ID_WITH_WRITES, {**keys, "checkpoint_id": _encoded(at.checkpoint_id)})
    head: CheckpointRow | None = None
    pending: list[tuple[Any, ...]] = []
    for idx, first, second, kind, value, third, metadata_kind in rows:
        if idx is None:
            head = CheckpointRow(first, second, kind, value, metadata_kind, third)
        else:
            pending.append((idx, first, second, third, kind, value))
    if head is None:
        return None
    record = codec.record(head, at)
    stored = blobs_of(executor, keys["thread"], record.blobs.values()) if record.blobs else {}
    if len(stored) < len(record.blobs) and is_gone(executor, keys, head.checkpoint_id):
        return get(executor, codec, at)  # deleted in between; another may be the latest now
    written = [WriteRow(head.checkpoint_id, *write) for write in pending]
    return Found(at, head, record, stored, written)


def find(executor: Executor, at: Address) -> CheckpointRow | None:
    """The row of the checkpoint at an address."""
    if at.checkpoint_id is None:
        rows = executor.fetch(_LATEST, at.keys)
    else:
        rows = executor.fetch(_BY_ID, {**at.keys, "checkpoint_id": _encoded(at.checkpoint_id)})
    return CheckpointRow._make(rows[0]) if rows else None


def history(
    executor: Executor, codec: Codec, at: Address, channels: Sequence[str]
) -> tuple[dict[str, list[WriteRow]], dict[str, tuple[Record, BlobRow | None]]]:
    """What DeltaChannels are rebuilt from.

    Per channel the writes of the ancestors, oldest first, back to the nearest that has a value; and where
    one has, its record and the row of the value.

    Raises:
        DatabaseError: if the checkpoint is deleted before its ancestors are read; to go on with those that
            are left would empty the state without a word.
    """
    head = find(executor, at)
    collected: dict[str, list[WriteRow]] = {channel: [] for channel in channels}
    seeds: dict[str, tuple[Record, BlobRow | None]] = {}
    if head is None:
        if at.checkpoint_id is not None:
            raise _deleted(at, at.checkpoint_id)
        return collected, seeds
    open_, walked = set(channels), {head.checkpoint_id}
    parent, ahead = head.parent_id, dict[bytes, CheckpointRow]()
    pending: dict[bytes, list[WriteRow]] = {}
    while parent is not None and open_ and parent not in walked:
        walked.add(parent)
        if parent not in ahead:
            ahead, pending = _ancestors(executor, at, parent), {}
            for write in writes_of(executor, at.keys, list(ahead)):
                pending.setdefault(write.checkpoint_id, []).append(write)
        if parent not in ahead:
            break
        row = ahead[parent]
        for write in reversed(codec.in_order(pending.get(parent, ()))):
            if (channel := codec.channel(write)) in open_:
                collected[channel].append(write)
        record = codec.record(row, at)
        for channel in [channel for channel in open_ if record.has(channel)]:
            name = record.blobs.get(channel)
            stored = {} if name is None else blobs_of(executor, at.keys["thread"], [name])
            seeds[channel] = (record, None if name is None else stored.get(name))
            open_.discard(channel)
        parent = row.parent_id
    for found in collected.values():
        found.reverse()
    lacking = any(value is None and name in record.blobs for name, (record, value) in seeds.items())
    if (lacking or (open_ and parent is not None)) and is_gone(executor, at.keys, head.checkpoint_id):
        raise _deleted(at, head.checkpoint_id.decode("utf-8", "replace"))
    return collected, seeds


def blobs_of(executor: Executor, thread: bytes, names: Iterable[bytes]) -> dict[bytes, BlobRow]:
    """Values by their names."""
    found: dict[bytes, BlobRow] = {}
    for part in _parts(list(names)):
        rows = executor.fetch(_blobs(len(part)), {"thread": thread, **_listed(part)})
        found |= {row[0]: BlobRow._make(row) for row in rows}
    return found


def writes_of(executor: Executor, keys: Mapping[str, Any], ids: Sequence[bytes]) -> list[WriteRow]:
    """The writes on top of some checkpoints of a thread and namespace."""
    found: list[WriteRow] = []
    for part in _parts(list(ids)):
        given = {**keys, **_listed(part)}
        if len(part) > 1:
            given |= {"low": min(part), "high": max(part)}
        rows = executor.fetch(_writes(len(part)), given)
        found += map(WriteRow._make, rows)
    return found


def is_gone(executor: Executor, keys: Mapping[str, Any], checkpoint_id: bytes) -> bool:
    """Whether a checkpoint of a thread and namespace was deleted."""
    return not executor.fetch(_BY_ID, {**keys, "checkpoint_id": checkpoint_id})


def _deleted(at: Address, checkpoint_id: str) -> DatabaseError:
    return DatabaseError(
        f"checkpoint {checkpoint_id} of thread {at.thread_id!r} is not there, or was deleted while it was "
        "read; read the thread again"
    )


def _ancestors(executor: Executor, at: Address, start: bytes) -> dict[bytes, CheckpointRow]:
    # Mostly the next rows downwards; a parent whose id sorts above its child's is asked for by name.
    rows = executor.fetch(_ANCESTORS, {**at.keys, "checkpoint_id": start})
    return {row.checkpoint_id: row for row in map(CheckpointRow._make, rows)}


_ANCESTORS = (
    select(*_ROW)
    .where(_HERE, checkpoints.c.checkpoint_id <= _ID)
    .order_by(checkpoints.c.checkpoint_id.desc())
    .limit(literal_column("64"))
)


def _check_size(executor: Executor, values: Iterable[bytes]) -> None:
    """See that a MySQL or MariaDB server takes these values: it drops the connection at one too large."""
    if executor.dialect not in ("mysql", "mariadb"):
        return
    sizes = [len(v) + sum(v.count(byte) for byte in _ESCAPED) for v in values if len(v) > _LARGE]
    if sizes:
        limit: int = executor.fetch(_PACKET, {})[0][0]
        if max(sizes) + 10_000 > limit:
            raise DatabaseError(
                f"a value of {max(sizes):,} bytes is more than the database server takes at once "
                f"(max_allowed_packet is {limit:,}); raise that, or keep less in one channel"
            )


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == _ROWS or size + len(row["value"]) > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row["value"])
    if batch:
        yield batch


def _parts(items: list[bytes]) -> Iterable[list[bytes]]:
    # A fixed number of parameters, filled up with the last: each number is a statement of its own.
    while items:
        size = next((size for size in _SIZES if size >= len(items)), _SIZES[-1])
        part, items = items[:size], items[size:]
        yield part + part[-1:] * (size - len(part))


def _listed(items: Sequence[bytes]) -> dict[str, Any]:
    return {f"i{index}": item for index, item in enumerate(items)}


def _one_of(column: ColumnElement[Any], count: int) -> ColumnElement[bool]:
    names: list[BindParameter[Any]] = [bindparam(f"i{index}", type_=column.type) for index in range(count)]
    return column == names[0] if count == 1 else column.in_(names)


@lru_cache(maxsize=len(_SIZES))
def _blobs(count: int) -> Select[Any]:
    columns = [blobs.c[name] for name in BlobRow._fields]
    return select(*columns).where(blobs.c.thread == bindparam("thread"), _one_of(blobs.c.blob, count))


@lru_cache(maxsize=len(_SIZES))
def _writes(count: int) -> Select[Any]:
    columns = [writes.c[name] for name in WriteRow._fields]
    here = and_(writes.c.thread == bindparam("thread"), writes.c.ns == bindparam("ns"))
    name = writes.c.checkpoint_id
    if count > 1:
        # For a list alone PostgreSQL may read the whole thread and filter; with bounds it reads between them.
        here = and_(here, name >= bindparam("low"), name <= bindparam("high"))
    return select(*columns).where(here, _one_of(name, count))


@lru_cache(maxsize=128)
def _save(dialect: str, values: int) -> Insert:
    saved = insert_rows(dialect, checkpoints, 1, _UPDATED)
    if not values:
        return saved
    rows = [
        {column.name: bindparam(f"blob_{column.name}_{index}", type_=column.type) for column in blobs.c}
        for index in range(values)
    ]
    return saved.add_cte(postgresql.insert(blobs).values(rows).on_conflict_do_nothing().cte("new_values"))


def _prefixed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"blob_{name}_{index}": value for index, row in enumerate(rows) for name, value in row.items()}


def _encoded(checkpoint_id: str) -> bytes:
    return checkpoint_id.encode("utf-8", "surrogatepass")
