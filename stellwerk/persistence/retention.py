"""What the database holds, and how to make it hold less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError
from typing_extensions import TypedDict

from stellwerk.errors import InputError
from stellwerk.persistence import checkpoint_units, effect_units, run_units, trace_units
from stellwerk.persistence.checkpoint_codec import Codec
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from stellwerk.persistence.schema.columns import microseconds, moment, text
from stellwerk.persistence.schema.traces import attempts, runs

_PAGE = 500  # threads, or rows, at a time
_PREFIX = "stellwerk_"


class TableStats(TypedDict):
    """A table; `bytes` are with its indexes, or None where the database cannot tell."""

    table: str
    rows: int
    bytes: int | None


class ThreadStats(TypedDict):
    """A thread; `bytes` are those of its values alone, without indexes and overhead."""

    thread_id: str
    checkpoints: int
    bytes: int
    newest: datetime


class DatabaseStats(TypedDict):
    """What a database holds. `method` says where the figures for bytes come from."""

    bytes: int
    method: str
    tables: list[TableStats]
    threads: list[ThreadStats]


@dataclass(frozen=True, kw_only=True, slots=True)
class OldThread:
    """A thread that would be pruned. `bytes` are those of its values, also of what would be kept of it."""

    thread: bytes
    thread_id: str
    checkpoints: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prunable:
    """What pruning would find.

    Args:
        threads: old ones.
        held: old threads that a run holds.
        unsaved: threads of which there are old writes and no checkpoint, as their process was killed.
        runs: how many runs ended long ago.
        traces: how many attempts, and traces of runs.
        effects: how many writes of tools.
    """

    threads: list[OldThread]
    held: list[str]
    unsaved: list[bytes]
    runs: int
    traces: int
    effects: int


Pruned = Literal["pruned", "gone on", "held"]


def stats(saver: SQLAlchemySaver, *, threads: int = 10) -> DatabaseStats:
    """What a database holds.

    Args:
        saver: on the database.
        threads: so many of the largest.

    Raises:
        DatabaseError: if the database fails.
    """
    return saver.database.read(lambda c: _stats(c, threads))


def find_prunable(
    saver: SQLAlchemySaver,
    *,
    older_than: timedelta,
    keep_latest: bool,
    keep_traces: bool = False,
    keep_runs: bool = False,
) -> Prunable:
    """What the functions below would work on; not threads that a run holds.

    Args:
        saver: on the database.
        older_than: a thread counts by its newest checkpoint.
        keep_latest: whether threads are left out that have nothing but their latest checkpoints.
        keep_traces: whether traces are left out.
        keep_runs: whether runs are left out.

    Raises:
        InputError: if `older_than` is negative.
        DatabaseError: if the database fails.
    """
    before = _before(older_than)
    found: list[OldThread] = []
    after: bytes | None = None
    while page := saver.database.read(lambda c, after=after: _old_threads(c, before, after, keep_latest)):  # type: ignore[misc]
        found += page
        after = page[-1].thread
    if keep_latest:
        found = [one for one in found if one.checkpoints]
    live = saver.database.read(run_units.live_threads)
    held = [one.thread_id for one in found if one.thread in live]
    found = [one for one in found if one.thread not in live]
    traces = 0 if keep_traces else saver.database.read(lambda c: _old_traces(c, before))
    unsaved: list[bytes] = []
    last = b""
    while names := saver.database.read(lambda c, last=last: _unsaved(c, before, last)):  # type: ignore[misc]
        unsaved += [name for name in names if name not in live]
        last = names[-1]
    old_runs = 0 if keep_runs else sum(len(page) for page in _old_runs(saver, before))
    effects = saver.database.read(lambda c: effect_units.count_older(c, before, keep_threads=keep_latest))
    return Prunable(threads=found, held=held, unsaved=unsaved, runs=old_runs, traces=traces, effects=effects)


def prune_thread(
    saver: SQLAlchemySaver, thread: OldThread, *, older_than: timedelta, keep_latest: bool
) -> Pruned:
    """Delete an old thread, or all of it but its latest checkpoints.

    Returns:
        `pruned`; nothing was deleted if it has `gone on` meanwhile, or is `held` by a run.

    Raises:
        DatabaseError: if the database fails, or what it holds cannot be read.
    """
    before, codec = _before(older_than), Codec(saver.serde)
    return saver.database.write(lambda c: _prune(c, codec, thread.thread, before, keep_latest))


def prune_unsaved(saver: SQLAlchemySaver, thread: bytes, *, older_than: timedelta) -> bool:
    """Delete the writes of a thread that has no checkpoint; False if it has one by now, or a run holds it.

    Raises:
        DatabaseError: if the database fails.
    """
    before = _before(older_than)
    return saver.database.write(lambda c: _prune_unsaved(c, thread, before))


def prune_runs(saver: SQLAlchemySaver, *, older_than: timedelta) -> Iterator[int]:
    """Delete runs that ended long ago, and tell how many after each step. Their threads stay.

    Raises:
        DatabaseError: if the database fails.
    """
    for page in _old_runs(saver, _before(older_than)):
        yield saver.database.write(lambda c, page=page: run_units.delete_runs(c, page))  # type: ignore[misc]


def prune_traces(saver: SQLAlchemySaver, *, older_than: timedelta) -> Iterator[int]:
    """Delete old attempts and runs with their feedback, and tell how many after each step.

    Raises:
        DatabaseError: if the database fails.
    """
    before = _before(older_than)
    while gone := saver.database.write(lambda c: trace_units.delete_older(c, before, _PAGE)):
        yield gone


def prune_effects(saver: SQLAlchemySaver, *, older_than: timedelta, keep_latest: bool) -> Iterator[int]:
    """Delete old writes of tools, and tell how many after each step.

    A thread that goes on may come upon its own again, so they stay as long as it does: with `keep_latest`,
    as long as it has a checkpoint; else as long as it has one that is not old.

    Raises:
        DatabaseError: if the database fails.
    """
    before = _before(older_than)
    while gone := saver.database.write(
        lambda c: effect_units.delete_older(c, before, _PAGE, keep_threads=keep_latest)
    ):
        yield gone


def _before(older_than: timedelta) -> datetime:
    if older_than < timedelta(0):
        raise InputError(f"older_than is {older_than}; give a time that is not negative")
    return datetime.now(UTC) - older_than


def _stats(connection: Connection, threads: int) -> DatabaseStats:
    names = sorted(name for name in inspect(connection).get_table_names() if name.startswith(_PREFIX))
    sizes, method, whole = _sizes(connection, names)
    tables = []
    for name in names:
        quoted = connection.dialect.identifier_preparer.quote(name)
        rows = connection.execute(sql(f"SELECT count(*) FROM {quoted}")).scalar_one()  # noqa: S608
        tables.append(TableStats(table=name, rows=rows, bytes=sizes.get(name)))
    return DatabaseStats(
        bytes=whole if whole is not None else sum(sizes.values()),
        method=method,
        tables=tables,
        threads=_largest(connection, threads),
    )


def _sizes(connection: Connection, names: list[str]) -> tuple[dict[str, int], str, int | None]:
    """Bytes by table, how they were found, and those of the whole database where the parts do not tell."""
    match connection.dialect.name:
        case "postgresql":
            query = sql("SELECT pg_total_relation_size(CAST(quote_ident(:name) AS regclass))")
            sizes = {name: connection.execute(query, {"name": name}).scalar_one() for name in names}
            return sizes, "measured: tables with indexes and TOAST, freed space included", None
        case "mysql" | "mariadb":
            query = sql(
                "SELECT table_name, data_length + index_length FROM information_schema.tables "
                "WHERE table_schema = DATABASE()"
            )
            known = {str(name): int(size or 0) for name, size in connection.execute(query)}
            return {name: known[name] for name in names if name in known}, "estimated by the server", None
    try:
        query = sql(
            "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
            "GROUP BY m.tbl_name"
        )
        known = {str(name): int(size) for name, size in connection.execute(query)}
    except DBAPIError:  # SQLite built without it
        pages, size = (
            connection.execute(sql(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size")
        )
        return {}, "measured: the pages of the file; this SQLite cannot tell tables apart", pages * size
    return {name: known[name] for name in names if name in known}, "measured: pages with indexes", None


def _largest(connection: Connection, limit: int) -> list[ThreadStats]:
    sizes: dict[bytes, int] = {}
    for table, columns in _VALUES:
        length = sum((func.length(table.c[name]) for name in columns[1:]), func.length(table.c[columns[0]]))
        query = select(table.c.thread, func.sum(length)).group_by(table.c.thread)
        for thread, size in connection.execute(query):
            sizes[bytes(thread)] = sizes.get(bytes(thread), 0) + int(size or 0)
    found = []
    for thread in sorted(sizes, key=lambda name: -sizes[name])[:limit]:
        count, newest = _extent(connection, thread)
        if newest is not None:
            found.append(
                ThreadStats(
                    thread_id=_thread_id(connection, thread),
                    checkpoints=count,
                    bytes=sizes[thread],
                    newest=newest,
                )
            )
    return found


_VALUES = ((checkpoints, ("checkpoint", "metadata")), (blobs, ("value",)), (writes, ("value",)))


def _old_threads(
    connection: Connection, before: datetime, after: bytes | None, keep_latest: bool
) -> list[OldThread]:
    c = checkpoints.c
    query = select(c.thread, func.count(), func.count(c.ns.distinct())).group_by(c.thread)
    if after is not None:
        query = query.where(c.thread > after)
    query = query.having(func.max(c.saved_at) < microseconds(before)).order_by(c.thread).limit(_PAGE)
    found = []
    for thread, count, namespaces in connection.execute(query).all():
        # With nothing but a latest checkpoint in each namespace, there is nothing to prune.
        spared = namespaces if keep_latest else 0
        found.append(
            OldThread(
                thread=bytes(thread),
                thread_id=_thread_id(connection, thread),
                checkpoints=count - spared,
                bytes=_size(connection, thread),
            )
        )
    return found


def _old_traces(connection: Connection, before: datetime) -> int:
    old = select(func.count()).select_from(attempts).where(attempts.c.created_at < before)
    old_runs = (
        select(func.count()).select_from(runs).where(runs.c.started_at < before, runs.c.updated_at < before)
    )
    return int(connection.execute(old).scalar_one()) + int(connection.execute(old_runs).scalar_one())


def _prune(
    connection: Connection, codec: Codec, thread: bytes, before: datetime, keep_latest: bool
) -> Pruned:
    with run_units.kept_free(connection, thread) as free:
        if not free:
            return "held"
        _, newest = _extent(connection, thread)
        if newest is None or newest >= before:
            return "gone on"
        if keep_latest:
            checkpoint_units.keep_latest(connection, codec, thread)
        else:
            checkpoint_units.delete_thread(connection, thread)
        return "pruned"


def _old_runs(saver: SQLAlchemySaver, before: datetime) -> Iterator[list[bytes]]:
    last = b""
    while page := saver.database.read(
        lambda c, last=last: run_units.ended_before(c, before, last, _PAGE)  # type: ignore[misc]
    ):
        yield page
        last = page[-1]


def _unsaved(connection: Connection, before: datetime, after: bytes) -> list[bytes]:
    """Threads, in order, that have nothing but old writes."""
    w, other = writes.c, writes.alias("other")
    # An id is a UUID of version 6, in order of time. A run without a lease may be about to save its first
    # checkpoint: a write of it is not old.
    newer = select(other.c.thread).where(
        other.c.thread == w.thread, other.c.checkpoint_id >= _first_id(before)
    )
    saved = select(checkpoints.c.thread).where(checkpoints.c.thread == w.thread)
    query = select(w.thread).where(w.thread > after, ~saved.exists(), ~newer.exists())
    found = connection.execute(query.distinct().order_by(w.thread).limit(_PAGE))
    return [bytes(thread) for thread in found.scalars()]


def _first_id(moment: datetime) -> bytes:
    """The beginning of the ids of checkpoints that began at a moment (RFC 9562, 5.6)."""
    ticks = microseconds(moment) * 10 + 0x01B21DD213814000  # of 100 ns, since 1582
    digits = f"{max(ticks, 0):015x}"
    return f"{digits[:8]}-{digits[8:12]}-6{digits[12:]}".encode()


def _prune_unsaved(connection: Connection, thread: bytes, before: datetime) -> bool:
    with run_units.kept_free(connection, thread) as free:
        if not free:
            return False
        c, w = checkpoints.c, writes.c
        newer = select(w.thread).where(w.thread == thread, w.checkpoint_id >= _first_id(before))
        for query in (select(c.thread).where(c.thread == thread), newer):
            if connection.execute(query.limit(1)).first() is not None:
                return False
        checkpoint_units.delete_thread(connection, thread)
        return True


def _extent(connection: Connection, thread: bytes) -> tuple[int, datetime | None]:
    c = checkpoints.c
    row = connection.execute(select(func.count(), func.max(c.saved_at)).where(c.thread == thread)).one()
    return int(row[0]), None if row[1] is None else moment(row[1])


def _thread_id(connection: Connection, thread: bytes) -> str:
    c = checkpoints.c
    found: Any = connection.execute(select(c.thread_id).where(c.thread == thread).limit(1)).scalar()
    return "" if found is None else text(found)


def _size(connection: Connection, thread: bytes) -> int:
    size = 0
    for table, columns in _VALUES:
        for name in columns:
            total = select(func.sum(func.length(table.c[name]))).where(table.c.thread == thread)
            size += int(connection.execute(total).scalar() or 0)
    return size
