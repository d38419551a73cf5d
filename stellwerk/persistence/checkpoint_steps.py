"""What a step of a graph asks of the checkpointer: save and read checkpoints and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Insert,
    Select,
    and_,
    bindparam,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import ColumnElement

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
_ROWS = 16  # in one statement; more would be another statement for each number of rows
_SIZES = (1, 2, 4, 8, 16, 32, 64)

_HERE = and_(checkpoints.c.thread == bindparam("thread"), checkpoints.c.ns == bindparam("ns"))
_BY_ID = select(checkpoints).where(_HERE, checkpoints.c.checkpoint_id == bindparam("checkpoint_id"))
_LATEST = select(checkpoints).where(_HERE).order_by(checkpoints.c.checkpoint_id.desc()).limit(1)


def _with_writes(query: Select[Any]) -> CompoundSelect[Any]:
    """A checkpoint's row and its writes in one question; a write stands in columns of its types."""
    found = query.cte("found")
    here = and_(*(writes.c[name] == found.c[name] for name in ("thread", "ns", "checkpoint_id")))
    w = writes.c
    first = (
        w.thread,
        w.ns,
        w.checkpoint_id,
        w.task_id,
        w.task_path,
        w.channel,
        null(),
        null(),
        w.idx,
        null(),
    )
    return union_all(
        select(literal_column("0"), *found.c),
        select(literal_column("1"), *first, w.type, w.value, null(), null()).where(here),
    )


_LATEST_WITH_WRITES = _with_writes(_LATEST)
_BY_ID_WITH_WRITES = _with_writes(_BY_ID)


class Save:
    """Saves a checkpoint and its new values. A value that is there stays: that of a version never changes."""

    def __init__(self, row: dict[str, Any], values: list[dict[str, Any]]) -> None:
        self._row, self._values = row, values

    def __call__(self, executor: Executor) -> None:
        """Save."""
        values = self._values
        if self.one_statement(executor.dialect):
            parameters = {**numbered([self._row]), **_prefixed(values)}
            executor.change(_save(executor.dialect, len(values)), parameters)
            return
        for start in range(0, len(values), _ROWS):
            part = values[start : start + _ROWS]
            executor.change(insert_rows(executor.dialect, blobs, len(part)), numbered(part))
        executor.change(_save(executor.dialect, 0), numbered([self._row]))

    def one_statement(self, dialect: str) -> bool:
        """PostgreSQL takes values and checkpoint in one, and so in one round trip."""
        return not self._values or (dialect == "postgresql" and len(self._values) <= _ROWS)


class SaveWrites:
    """Saves a task's writes; those that are there already are written anew, or stay."""

    def __init__(self, rows: list[dict[str, Any]], *, anew: bool) -> None:
        self._rows, self._columns = rows, _WRITTEN if anew else ()

    def __call__(self, executor: Executor) -> None:
        """Save."""
        for start in range(0, len(self._rows), _ROWS):
            part = self._rows[start : start + _ROWS]
            executor.change(insert_rows(executor.dialect, writes, len(part), self._columns), numbered(part))

    def one_statement(self, dialect: str) -> bool:
        """Unless there are many."""
        return len(self._rows) <= _ROWS


def get(executor: Executor, codec: Codec, at: Address) -> Found | None:
    """The checkpoint at an address."""
    if at.checkpoint_id is None:
        rows = executor.fetch(_LATEST_WITH_WRITES, at.keys)
    else:
        wanted = at.checkpoint_id.encode("utf-8", "surrogatepass")
        rows = executor.fetch(_BY_ID_WITH_WRITES, {**at.keys, "checkpoint_id": wanted})
    row, pending = None, []
    for kind, *columns in rows:
        if kind:
            thread, ns, checkpoint_id, task_id, task_path, channel, _, _, idx, _, type_, value, _, _ = columns
            pending.append(
                WriteRow(thread, ns, checkpoint_id, task_id, idx, task_path, channel, type_, value)
            )
        else:
            row = CheckpointRow._make(columns)
    if row is None:
        return None
    record = codec.record(row)
    return Found(row, record, blobs_of(executor, row.thread, record.blobs.values()), pending)


def find(executor: Executor, at: Address) -> CheckpointRow | None:
    """The row of the checkpoint at an address."""
    if at.checkpoint_id is None:
        rows = executor.fetch(_LATEST, at.keys)
    else:
        wanted = at.checkpoint_id.encode("utf-8", "surrogatepass")
        rows = executor.fetch(_BY_ID, {**at.keys, "checkpoint_id": wanted})
    return CheckpointRow._make(rows[0]) if rows else None


class Page:
    """A page of checkpoints, newest first.

    What the filter says of `source` and `step` narrows the rows; `keep` decides.
    """

    def __init__(
        self,
        at: Address | None,
        *,
        any_ns: bool,
        filter: Mapping[str, Any],
        before: str | None,
        after: CheckpointRow | None,
        size: int,
        keep: Callable[[CheckpointRow], bool],
    ) -> None:
        given: dict[str, Any] = {"size": size}
        if at is not None:
            given["thread"] = at.keys["thread"]
            if not any_ns:
                given["ns"] = at.keys["ns"]
            if at.checkpoint_id is not None:
                given["checkpoint_id"] = at.checkpoint_id.encode("utf-8", "surrogatepass")
        if before is not None:
            given["before"] = before.encode("utf-8", "surrogatepass")
        if type(filter.get("source")) is str:
            given["source"] = filter["source"]
        if type(step := filter.get("step")) is int and abs(step) < 2**31:
            given["step"] = step
        if after is not None:
            given |= {
                "after": after.checkpoint_id,
                "after_thread": after.thread,
                "after_ns": after.ns,
            }
        self._given = given
        self._keep = keep

    def read(self, executor: Executor, codec: Codec) -> tuple[list[Found], CheckpointRow | None]:
        """The checkpoints that are kept, and the page's last row, to go on from."""
        query = _page(frozenset(self._given))
        rows = [CheckpointRow._make(row) for row in executor.fetch(query, self._given)]
        chosen = [(row, codec.record(row)) for row in rows if self._keep(row)]
        names: dict[bytes, dict[bytes, None]] = {}
        ids: dict[tuple[bytes, bytes], list[bytes]] = {}
        for row, record in chosen:
            names.setdefault(row.thread, {}).update(dict.fromkeys(record.blobs.values()))
            ids.setdefault((row.thread, row.ns), []).append(row.checkpoint_id)
        stored = {thread: blobs_of(executor, thread, wanted) for thread, wanted in names.items()}
        pending: dict[tuple[bytes, bytes, bytes], list[WriteRow]] = {}
        for (thread, ns), wanted in ids.items():
            for write in writes_of(executor, thread, ns, wanted):
                pending.setdefault((thread, ns, write.checkpoint_id), []).append(write)
        found = [
            Found(row, record, stored[row.thread], pending.get((row.thread, row.ns, row.checkpoint_id), ()))
            for row, record in chosen
        ]
        return found, rows[-1] if rows else None


def history(
    executor: Executor, codec: Codec, at: Address, channels: Sequence[str]
) -> tuple[dict[str, list[WriteRow]], dict[str, tuple[Record, BlobRow | None]]]:
    """What DeltaChannels are rebuilt from.

    Per channel the writes of the ancestors, oldest first, back to the nearest that has a value; and where
    one has, its record and the row of the value.
    """
    row = find(executor, at)
    collected: dict[str, list[WriteRow]] = {channel: [] for channel in channels}
    seeds: dict[str, tuple[Record, BlobRow | None]] = {}
    if row is None:
        return collected, seeds
    thread, ns, open_, walked = row.thread, row.ns, set(channels), {row.checkpoint_id}
    parent, ahead = row.parent_id, dict[bytes, CheckpointRow]()
    pending: dict[bytes, list[WriteRow]] = {}
    while parent is not None and open_ and parent not in walked:
        walked.add(parent)
        if parent not in ahead:
            ahead, pending = _ancestors(executor, thread, ns, parent), {}
            for write in writes_of(executor, thread, ns, list(ahead)):
                pending.setdefault(write.checkpoint_id, []).append(write)
        if parent not in ahead:
            break
        row = ahead[parent]
        for write in reversed(codec.in_order(pending.get(parent, ()))):
            if (channel := codec.channel(write)) in open_:
                collected[channel].append(write)
        record = codec.record(row)
        for channel in [channel for channel in open_ if record.has(channel)]:
            name = record.blobs.get(channel)
            stored = {} if name is None else blobs_of(executor, thread, [name])
            seeds[channel] = (record, None if name is None else stored.get(name))
            open_.discard(channel)
        parent = row.parent_id
    for found in collected.values():
        found.reverse()
    return collected, seeds


def blobs_of(executor: Executor, thread: bytes, names: Iterable[bytes]) -> dict[bytes, BlobRow]:
    """Values by their names."""
    found: dict[bytes, BlobRow] = {}
    for part in _parts(list(names)):
        rows = executor.fetch(_blobs(len(part)), {"thread": thread, **_listed(part)})
        found |= {row[1]: BlobRow._make(row) for row in rows}
    return found


def writes_of(executor: Executor, thread: bytes, ns: bytes, ids: Sequence[bytes]) -> list[WriteRow]:
    """The writes on top of some checkpoints."""
    found: list[WriteRow] = []
    for part in _parts(list(ids)):
        rows = executor.fetch(_writes(len(part)), {"thread": thread, "ns": ns, **_listed(part)})
        found += map(WriteRow._make, rows)
    return found


def _ancestors(executor: Executor, thread: bytes, ns: bytes, start: bytes) -> dict[bytes, CheckpointRow]:
    # Mostly the next rows downwards; a parent whose id sorts above its child's is asked for by name.
    given = {"thread": thread, "ns": ns, "up_to": start, "size": 64}
    rows = map(CheckpointRow._make, executor.fetch(_page(frozenset(given)), given))
    return {row.checkpoint_id: row for row in rows}


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
    return select(blobs).where(blobs.c.thread == bindparam("thread"), _one_of(blobs.c.blob, count))


@lru_cache(maxsize=len(_SIZES))
def _writes(count: int) -> Select[Any]:
    here = and_(writes.c.thread == bindparam("thread"), writes.c.ns == bindparam("ns"))
    return select(writes).where(here, _one_of(writes.c.checkpoint_id, count))


@lru_cache(maxsize=128)
def _page(given: frozenset[str]) -> Select[Any]:
    c = checkpoints.c
    conditions: list[ColumnElement[bool]] = [
        c[name] == bindparam(name) for name in ("thread", "ns", "checkpoint_id") if name in given
    ]
    conditions += [
        or_(c[name] == bindparam(name), c[name].is_(None)) for name in ("source", "step") if name in given
    ]
    if "before" in given:
        conditions.append(c.checkpoint_id < bindparam("before"))
    if "up_to" in given:
        conditions.append(c.checkpoint_id <= bindparam("up_to"))
    order = [c.checkpoint_id.desc(), c.thread, c.ns]
    if "after" in given and {"thread", "ns"} <= given:
        conditions.append(c.checkpoint_id < bindparam("after"))
        order = order[:1]
    elif "after" in given:
        same = c.checkpoint_id == bindparam("after")
        beyond = or_(
            c.thread > bindparam("after_thread"),
            and_(c.thread == bindparam("after_thread"), c.ns > bindparam("after_ns")),
        )
        conditions.append(or_(c.checkpoint_id < bindparam("after"), and_(same, beyond)))
    elif {"thread", "ns"} <= given:
        order = order[:1]
    return select(checkpoints).where(*conditions).order_by(*order).limit(bindparam("size"))


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
