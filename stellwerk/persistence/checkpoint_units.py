"""What the checkpointer does to the database, each a function of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, literal, or_, select, update
from sqlalchemy import text as sql
from sqlalchemy.sql import ColumnElement

from stellwerk.errors import DatabaseError
from stellwerk.persistence.checkpoint_codec import (
    Address,
    Codec,
    Record,
    Row,
    in_order,
    short_source,
    small_step,
)
from stellwerk.persistence.insert import check_size, insert_or_keep, insert_or_update
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from stellwerk.persistence.schema.columns import text

_CHUNK = 500  # keys in one statement
_UPDATED = tuple(c.name for c in checkpoints.c if c.name not in ("thread", "ns", "checkpoint_id"))
_WRITTEN = ("task_path", "channel", "type", "value")

_HERE = and_(checkpoints.c.thread == bindparam("thread"), checkpoints.c.ns == bindparam("ns"))
_BY_ID = select(checkpoints).where(_HERE, checkpoints.c.checkpoint_id == bindparam("checkpoint_id"))
_LATEST = select(checkpoints).where(_HERE).order_by(checkpoints.c.checkpoint_id.desc()).limit(1)
_WRITES = select(writes).where(
    writes.c.thread == bindparam("thread"),
    writes.c.ns == bindparam("ns"),
    writes.c.checkpoint_id == bindparam("checkpoint_id"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a checkpoint."""

    row: Row
    record: Record
    blobs: Mapping[bytes, Row]
    writes: Sequence[Row]


def put(connection: Connection, row: dict[str, Any], values: list[dict[str, Any]]) -> None:
    """Save a checkpoint and its new values. A value that is there stays: that of a version never changes."""
    dialect = connection.dialect.name
    check_size(connection, [row["checkpoint"], row["metadata"], *(value["value"] for value in values)])
    if values:
        connection.execute(insert_or_keep(dialect, blobs), values)
    connection.execute(insert_or_update(dialect, checkpoints, _UPDATED), row)


def put_writes(connection: Connection, rows: list[dict[str, Any]], *, anew: bool) -> None:
    """Save a task's writes; those that are there already are written anew, or stay."""
    dialect = connection.dialect.name
    check_size(connection, [row["value"] for row in rows])
    connection.execute(
        insert_or_update(dialect, writes, _WRITTEN) if anew else insert_or_keep(dialect, writes), rows
    )


def get(connection: Connection, codec: Codec, at: Address) -> Found | None:
    """The checkpoint at an address."""
    while True:
        row = _row(connection, at)
        if row is None:
            return None
        record = codec.record(row)
        stored = _blobs(connection, row.thread, record.blobs.values())
        if not _pruned(connection, row, record, stored):
            break
    pending = connection.execute(
        _WRITES, {"thread": row.thread, "ns": row.ns, "checkpoint_id": row.checkpoint_id}
    ).all()
    return Found(row, record, stored, pending)


def page(
    connection: Connection, codec: Codec, query: Select[Any], keep: Any
) -> tuple[list[Found], Row | None]:
    """The checkpoints of a query that are to be kept, and the last row of the query, to go on from."""
    rows = connection.execute(query).all()
    chosen = [row for row in rows if keep(row)]
    records = [codec.record(row) for row in chosen]
    stored: dict[bytes, dict[bytes, Row]] = {}
    for thread in {row.thread for row in chosen}:
        names = {
            n
            for row, rec in zip(chosen, records, strict=True)
            if row.thread == thread
            for n in rec.blobs.values()
        }
        stored[thread] = _blobs(connection, thread, names)
    pending: dict[tuple[bytes, bytes, bytes], list[Row]] = {}
    for thread, ns in {(row.thread, row.ns) for row in chosen}:
        ids = [row.checkpoint_id for row in chosen if (row.thread, row.ns) == (thread, ns)]
        for write in _writes_of(connection, thread, ns, ids):
            pending.setdefault((thread, ns, write.checkpoint_id), []).append(write)
    found = [
        Found(row, record, stored[row.thread], pending.get((row.thread, row.ns, row.checkpoint_id), ()))
        for row, record in zip(chosen, records, strict=True)
        if not _pruned(connection, row, record, stored[row.thread])
    ]
    return found, rows[-1] if rows else None


def listing(
    at: Address | None,
    *,
    any_ns: bool,
    filter: Mapping[str, Any],
    before: str | None,
    after: Row | None,
    size: int,
) -> Select[Any]:
    """A page of checkpoints, newest first, that goes on after a row.

    What the filter says of `source` and `step` narrows the rows; whoever reads them applies the filter.
    """
    c = checkpoints.c
    conditions: list[ColumnElement[bool]] = []
    if at is not None:
        conditions.append(c.thread == at.keys["thread"])
        if not any_ns:
            conditions.append(c.ns == at.keys["ns"])
        if at.checkpoint_id is not None:
            conditions.append(c.checkpoint_id == at.checkpoint_id.encode("utf-8", "surrogatepass"))
    if before is not None:
        conditions.append(c.checkpoint_id < before.encode("utf-8", "surrogatepass"))
    for name, fit in (("source", short_source), ("step", small_step)):
        # A value that the column cannot hold is not for the database to compare: it may refuse to.
        if (wanted := fit(filter.get(name))) is not None:
            conditions.append(or_(c[name] == wanted, c[name].is_(None)))
    if after is not None:
        conditions.append(
            or_(
                c.checkpoint_id < after.checkpoint_id,
                and_(
                    c.checkpoint_id == after.checkpoint_id,
                    or_(c.thread > after.thread, and_(c.thread == after.thread, c.ns > after.ns)),
                ),
            )
        )
    return select(checkpoints).where(*conditions).order_by(c.checkpoint_id.desc(), c.thread, c.ns).limit(size)


def delete_thread(connection: Connection, thread: bytes) -> None:
    """Delete everything of a thread."""
    for table in (checkpoints, blobs, writes):
        connection.execute(delete(table).where(table.c.thread == thread))


def delete_for_runs(connection: Connection, codec: Codec, run_ids: Sequence[bytes]) -> None:
    """Delete the checkpoints that some runs made, with their writes, and the values that nothing else has."""
    c = checkpoints.c
    found: list[Row] = []
    for chunk in _chunks(run_ids):
        found += connection.execute(select(c.thread, c.ns, c.checkpoint_id).where(c.run_id.in_(chunk))).all()
    for thread in {row.thread for row in found}:
        before = _blob_names(connection, thread)
        for ns in {row.ns for row in found if row.thread == thread}:
            _delete(
                connection, thread, ns, [r.checkpoint_id for r in found if (r.thread, r.ns) == (thread, ns)]
            )
        _collect(connection, codec, thread, before)


def has_thread(connection: Connection, thread: bytes) -> bool:
    """Whether a thread has anything stored."""
    return any(
        connection.execute(select(table.c.thread).where(table.c.thread == thread).limit(1)).first()
        is not None
        for table in (checkpoints, writes)
    )


def copy_thread(connection: Connection, source: bytes, target: bytes, target_id: bytes) -> None:
    """Copy everything of a thread.

    The copies are of no run: who undoes the run that made the source must not undo them.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Or a statement copies a checkpoint that was saved after the one before it copied the values.
        connection.execute(sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    changed = {
        "thread": literal(target, checkpoints.c.thread.type),
        "thread_id": literal(target_id, checkpoints.c.thread_id.type),
    }
    # Checkpoints first: MySQL and MariaDB lock what they copy, so that no more are added or pruned.
    for table in (checkpoints, blobs, writes):
        names = [c.name for c in table.c if c.name != "run_id"]
        old = table.alias("old")
        values = [changed.get(name, old.c[name]) for name in names]
        rows = select(*values).where(old.c.thread == source)
        # Kept, as what was committed is copied again where the answer to the commit was lost.
        connection.execute(insert_or_keep(dialect, table).from_select(names, rows))


def keep_latest(connection: Connection, codec: Codec, thread: bytes) -> None:
    """Keep the latest checkpoint of each namespace, and what it is rebuilt from.

    A value is listed before the checkpoints that may use it, and checkpoints are deleted by their ids,
    so what a run saves meanwhile stays. The writes of checkpoints not yet saved stay as well, unless a
    later step of the run is saved: theirs never will be.
    """
    c = checkpoints.c
    before = _blob_names(connection, thread)
    parents: dict[bytes, dict[bytes, bytes | None]] = {}
    for row in connection.execute(select(c.ns, c.checkpoint_id, c.parent_id).where(c.thread == thread)).all():
        parents.setdefault(row.ns, {})[row.checkpoint_id] = row.parent_id
    heads = {ns: _load(connection, thread, ns, max(ids)) for ns, ids in parents.items()}
    finished = _finished_calls(codec, heads)
    for ns, ids in parents.items():
        kept = set() if ns in finished else _needed(connection, codec, heads[ns], ids)
        _delete(connection, thread, ns, [name for name in ids if name not in kept])
        orphans = [name for name in kept if ids[name] is not None and ids[name] not in kept]
        for chunk in _chunks(orphans):
            connection.execute(
                update(checkpoints)
                .where(c.thread == thread, c.ns == ns, c.checkpoint_id.in_(chunk))
                .values(parent_id=None)
            )
    _drop_lost_writes(connection, thread, heads, parents)
    _collect(connection, codec, thread, before)


def history(
    connection: Connection, codec: Codec, at: Address, channels: Sequence[str]
) -> tuple[dict[str, list[Row]], dict[str, tuple[Record, Row | None]]]:
    """What DeltaChannels are rebuilt from: per channel, the writes of the ancestors, oldest first, back to
    the nearest that has a value, and where it has one the record and the row of that value.

    Raises:
        DatabaseError: if the checkpoint is deleted before its ancestors are read; to go on with those that
            are left would empty the state without a word.
    """
    row = _row(connection, at)
    collected: dict[str, list[Row]] = {channel: [] for channel in channels}
    seeds: dict[str, tuple[Record, Row | None]] = {}
    if row is None:
        if at.checkpoint_id is not None:
            raise _deleted(at.thread_id, at.checkpoint_id)
        return collected, seeds
    head = row
    thread, ns, open_, walked = row.thread, row.ns, set(channels), {row.checkpoint_id}
    parent, ahead = row.parent_id, dict[bytes, Row]()
    while parent is not None and open_ and parent not in walked:
        walked.add(parent)
        if parent not in ahead:
            ahead = _ancestors(connection, thread, ns, parent)
            pending: dict[bytes, list[Row]] = {}
            for write in _writes_of(connection, thread, ns, list(ahead)):
                pending.setdefault(write.checkpoint_id, []).append(write)
        if parent not in ahead:
            break
        row = ahead[parent]
        for write in reversed(in_order(pending.get(parent, ()))):
            if (channel := text(write.channel)) in open_:
                collected[channel].append(write)
        record = codec.record(row)
        for channel in [channel for channel in open_ if record.has(channel)]:
            name = record.blobs.get(channel)
            stored = _blobs(connection, thread, [name]) if name is not None else {}
            seeds[channel] = (record, stored.get(name) if name is not None else None)
            open_.discard(channel)
        parent = row.parent_id
    for rows in collected.values():
        rows.reverse()
    lacking = any(value is None and name in record.blobs for name, (record, value) in seeds.items())
    if (lacking or (open_ and parent is not None)) and _is_gone(connection, head):
        raise _deleted(at.thread_id, text(head.checkpoint_id))
    return collected, seeds


def _row(connection: Connection, at: Address) -> Row | None:
    if at.checkpoint_id is None:
        return connection.execute(_LATEST, at.keys).first()
    wanted = at.checkpoint_id.encode("utf-8", "surrogatepass")
    return connection.execute(_BY_ID, {**at.keys, "checkpoint_id": wanted}).first()


def _pruned(connection: Connection, row: Row, record: Record, stored: Mapping[bytes, Row]) -> bool:
    """Whether a checkpoint was deleted between the reading of its row and of its values."""
    return any(name not in stored for name in record.blobs.values()) and _is_gone(connection, row)


def _is_gone(connection: Connection, row: Row) -> bool:
    named = {"thread": row.thread, "ns": row.ns, "checkpoint_id": row.checkpoint_id}
    return connection.execute(_BY_ID, named).first() is None


def _deleted(thread_id: str, checkpoint_id: str) -> DatabaseError:
    return DatabaseError(
        f"checkpoint {checkpoint_id} of thread {thread_id!r} is not there, or was deleted while it was read; "
        "read the thread again"
    )


def _load(connection: Connection, thread: bytes, ns: bytes, checkpoint_id: bytes) -> Row:
    return connection.execute(_BY_ID, {"thread": thread, "ns": ns, "checkpoint_id": checkpoint_id}).one()


@lru_cache(maxsize=16)
def _blob_query(count: int) -> Select[Any]:
    # A fixed number of parameters: SQLAlchemy would write a list's placeholders anew each time.
    names = [bindparam(f"b{index}", type_=blobs.c.blob.type) for index in range(count)]
    return select(blobs.c.blob, blobs.c.type, blobs.c.value).where(
        blobs.c.thread == bindparam("thread"),
        or_(*(blobs.c.blob == name for name in names)) if count == 1 else blobs.c.blob.in_(names),
    )


def _blobs(connection: Connection, thread: bytes, names: Iterable[bytes]) -> dict[bytes, Row]:
    wanted = list(names)
    found: dict[bytes, Row] = {}
    while wanted:
        size = next(size for size in (1, 2, 4, 8, 32, 128) if size >= min(len(wanted), 128))
        part, wanted = wanted[:size], wanted[size:]
        padded = part + part[-1:] * (size - len(part))
        parameters = {"thread": thread, **{f"b{index}": name for index, name in enumerate(padded)}}
        found |= {bytes(row.blob): row for row in connection.execute(_blob_query(size), parameters)}
    return found


def _writes_of(connection: Connection, thread: bytes, ns: bytes, ids: Sequence[bytes]) -> list[Row]:
    found: list[Row] = []
    for chunk in _chunks(ids):
        here = writes.c.checkpoint_id == chunk[0] if len(chunk) == 1 else writes.c.checkpoint_id.in_(chunk)
        found += connection.execute(
            select(writes).where(writes.c.thread == thread, writes.c.ns == ns, here)
        ).all()
    return found


def _ancestors(connection: Connection, thread: bytes, ns: bytes, start: bytes) -> dict[bytes, Row]:
    # Mostly the next rows downwards; a parent whose id sorts above its child's is asked for by name.
    c = checkpoints.c
    query = select(checkpoints).where(c.thread == thread, c.ns == ns, c.checkpoint_id <= start)
    rows = connection.execute(query.order_by(c.checkpoint_id.desc()).limit(64)).all()
    return {row.checkpoint_id: row for row in rows}


def _drop_lost_writes(
    connection: Connection,
    thread: bytes,
    heads: Mapping[bytes, Row],
    saved: Mapping[bytes, Mapping[bytes, bytes | None]],
) -> None:
    """Delete writes that were saved by a process that was killed before it saved their checkpoint."""
    root = next((row.checkpoint_id for row in heads.values() if not text(row.checkpoint_ns)), None)
    if root is None:
        return
    w = writes.c
    # What runs now, in any namespace, began after the latest root checkpoint, and ids are in order of time.
    query = select(w.ns, w.checkpoint_id).where(w.thread == thread, w.checkpoint_id < root).distinct()
    for ns, name in connection.execute(query).all():
        if name not in saved.get(ns, {}):
            connection.execute(delete(writes).where(w.thread == thread, w.ns == ns, w.checkpoint_id == name))


def _finished_calls(codec: Codec, heads: Mapping[bytes, Row]) -> set[bytes]:
    """Namespaces of subgraph calls whose root checkpoint is saved, and is not the latest.

    A call's namespace ends with its task's id, after a colon; that of a subgraph with a memory of its
    own does not, and outlives its calls.
    """
    root = next((text(row.checkpoint_id) for row in heads.values() if not text(row.checkpoint_ns)), None)
    if root is None:
        return set()
    finished = set()
    for ns, row in heads.items():
        if ":" in text(row.checkpoint_ns):
            started = (codec.metadata(row).get("parents") or {}).get("")
            # Ids are in order of time: an older root is saved, or was before it was pruned.
            if started is not None and started < root:
                finished.add(ns)
    return finished


def _needed(
    connection: Connection, codec: Codec, head: Row, parents: Mapping[bytes, bytes | None]
) -> set[bytes]:
    """The head, and its ancestors back to the nearest that has a value of each DeltaChannel."""
    record = codec.record(head)
    counters = codec.metadata(head).get("counters_since_delta_snapshot") or {}
    open_ = {channel for channel in counters if not record.has(channel)}
    kept = {head.checkpoint_id}
    parent = parents[head.checkpoint_id]
    while open_ and parent is not None and parent in parents and parent not in kept:
        kept.add(parent)
        ancestor = codec.record(_load(connection, head.thread, head.ns, parent))
        open_ = {channel for channel in open_ if not ancestor.has(channel)}
        parent = parents[parent]
    return kept


def _delete(connection: Connection, thread: bytes, ns: bytes, ids: Sequence[bytes]) -> None:
    for chunk in _chunks(ids):
        for table in (writes, checkpoints):
            connection.execute(
                delete(table).where(
                    table.c.thread == thread, table.c.ns == ns, table.c.checkpoint_id.in_(chunk)
                )
            )


def _blob_names(connection: Connection, thread: bytes) -> set[bytes]:
    return set(connection.execute(select(blobs.c.blob).where(blobs.c.thread == thread)).scalars())


def _collect(connection: Connection, codec: Codec, thread: bytes, names: set[bytes]) -> None:
    """Delete those values that no checkpoint has."""
    c = checkpoints.c
    unused = set(names)
    columns = (c.checkpoint_ns, c.type, c.checkpoint)
    for row in connection.execute(select(*columns).where(c.thread == thread)).all():
        unused -= set(codec.record(row).blobs.values())
    for chunk in _chunks(sorted(unused)):
        connection.execute(delete(blobs).where(blobs.c.thread == thread, blobs.c.blob.in_(chunk)))


def _chunks(items: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
