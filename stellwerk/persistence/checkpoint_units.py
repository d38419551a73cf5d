"""What is done to whole threads: delete, copy and prune. Each is a function of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, literal, select, update
from sqlalchemy import text as sql

from stellwerk.errors import InputError
from stellwerk.persistence import run_units
from stellwerk.persistence.checkpoint_codec import Address, CheckpointRow, Codec
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from stellwerk.persistence.schema.columns import text
from stellwerk.persistence.schema.runs import leases

_CHUNK = 500  # keys in one statement
_PLACED = [checkpoints.c[name] for name in ("thread_id", "checkpoint_ns", *CheckpointRow._fields)]
_Placed = tuple[Address, CheckpointRow]


def delete_thread(connection: Connection, thread: bytes) -> None:
    """Delete all that the checkpointer has of a thread; not its runs, lease and traces."""
    for table in (checkpoints, blobs, writes):
        connection.execute(delete(table).where(table.c.thread == thread))


def delete_for_runs(connection: Connection, codec: Codec, run_ids: Sequence[bytes]) -> None:
    """Delete the checkpoints that some runs made, with their writes, and the values that nothing else has."""
    c = checkpoints.c
    found: list[Any] = []
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

    Raises:
        InputError: if the target has checkpoints that are not the source's.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Or a statement copies a checkpoint that was saved after the one before it copied the values.
        connection.execute(sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    # The target's lease row is the lock: the second of two copies to one target sees the first.
    run_units.reserve(connection, target)
    connection.execute(update(leases).where(leases.c.thread == target).values(holder=leases.c.holder))
    there = _names(connection, target)
    if there and there != _names(connection, source):  # else it is this copy, whose commit was not answered
        raise occupied(text(target_id))
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


def occupied(thread_id: str) -> InputError:
    """What is said of a target that is there already."""
    return InputError(f"there is a thread {thread_id!r} already; copy to a new one, or delete it first")


def _names(connection: Connection, thread: bytes) -> set[tuple[bytes, bytes]]:
    c = checkpoints.c
    rows = connection.execute(select(c.ns, c.checkpoint_id).where(c.thread == thread)).all()
    return {(bytes(row.ns), bytes(row.checkpoint_id)) for row in rows}


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


def _load(connection: Connection, thread: bytes, ns: bytes, checkpoint_id: bytes) -> _Placed:
    c = checkpoints.c
    query = select(*_PLACED).where(c.thread == thread, c.ns == ns, c.checkpoint_id == checkpoint_id)
    return _placed(connection.execute(query).one())


def _placed(row: Sequence[Any]) -> _Placed:
    return Address(text(row[0]), text(row[1]), None), CheckpointRow._make(row[2:])


def _drop_lost_writes(
    connection: Connection,
    thread: bytes,
    heads: Mapping[bytes, _Placed],
    saved: Mapping[bytes, Mapping[bytes, bytes | None]],
) -> None:
    """Delete writes that were saved by a process that was killed before it saved their checkpoint."""
    root = next((row.checkpoint_id for at, row in heads.values() if not at.checkpoint_ns), None)
    if root is None:
        return
    w = writes.c
    # What runs now, in any namespace, began after the latest root checkpoint, and ids are in order of time.
    query = select(w.ns, w.checkpoint_id).where(w.thread == thread, w.checkpoint_id < root).distinct()
    for ns, name in connection.execute(query).all():
        if name not in saved.get(ns, {}):
            connection.execute(delete(writes).where(w.thread == thread, w.ns == ns, w.checkpoint_id == name))


def _finished_calls(codec: Codec, heads: Mapping[bytes, _Placed]) -> set[bytes]:
    """Namespaces of subgraph calls whose root checkpoint is saved, and is not the latest.

    A call's namespace ends with its task's id, after a colon; that of a subgraph with a memory of its
    own does not, and outlives its calls.
    """
    root = next((text(row.checkpoint_id) for at, row in heads.values() if not at.checkpoint_ns), None)
    if root is None:
        return set()
    finished = set()
    for ns, (at, row) in heads.items():
        if ":" in at.checkpoint_ns:
            started = (codec.metadata(row).get("parents") or {}).get("")
            # Ids are in order of time: an older root is saved, or was before it was pruned.
            if started is not None and started < root:
                finished.add(ns)
    return finished


def _needed(
    connection: Connection, codec: Codec, head: _Placed, parents: Mapping[bytes, bytes | None]
) -> set[bytes]:
    """The head, and its ancestors back to the nearest that has a value of each DeltaChannel."""
    at, row = head
    record = codec.record(row, at)
    counters = codec.metadata(row).get("counters_since_delta_snapshot") or {}
    open_ = {channel for channel in counters if not record.has(channel)}
    kept = {row.checkpoint_id}
    parent = parents[row.checkpoint_id]
    while open_ and parent is not None and parent in parents and parent not in kept:
        kept.add(parent)
        ancestor = codec.record(_load(connection, at.keys["thread"], at.keys["ns"], parent)[1], at)
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
    unused = set(names)
    for found in connection.execute(select(*_PLACED).where(checkpoints.c.thread == thread)):
        at, row = _placed(found)
        unused -= set(codec.record(row, at).blobs.values())
    for chunk in _chunks(sorted(unused)):
        connection.execute(delete(blobs).where(blobs.c.thread == thread, blobs.c.blob.in_(chunk)))


def _chunks(items: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
