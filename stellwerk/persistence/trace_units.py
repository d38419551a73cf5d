"""What the trace store does to the database, each a function of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, and_, delete, func, or_, select
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence import consent_units
from stellwerk.persistence.insert import insert_or_keep, insert_or_update
from stellwerk.persistence.schema.columns import digest, text
from stellwerk.persistence.schema.conversion import members
from stellwerk.persistence.schema.origins import origins, tool_sets
from stellwerk.persistence.schema.traces import attempts, feedback, runs
from stellwerk.persistence.trace_codec import ToldRow

Row = Any  # a SQLAlchemy row; its columns are known by the statement alone

_ONCE = (
    "run",
    "thread",
    "run_id",
    "thread_id",
    "task",
    "task_hash",
    "origin",
    "started_at",
)  # told alike each time
_TOLD = tuple(column.name for column in runs.c if column.name not in _ONCE)


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt or a run that feedback may be about. `trace` is None for a run."""

    trace: bytes | None
    run: bytes
    run_id: bytes
    thread_id: bytes


def save(connection: Connection, told: Sequence[ToldRow], began: Sequence[ToldRow], *, unknown: bool) -> int:
    """Save attempts, of which each stays as it was told first, and runs, of which the latest word counts.

    Args:
        connection: to the database.
        told: the attempts.
        began: the runs.
        unknown: whether those are kept of whose consent nothing is known.

    Returns:
        How many attempts were not written for want of consent.
    """
    dialect = connection.dialect.name
    threads = {thread for row in (*told, *began) for thread in row.gate.threads}
    states = consent_units.states(connection, threads)
    kept = [row for row in told if row.gate.opens(states, unknown=unknown)]
    runs_kept = [row for row in began if row.gate.opens(states, unknown=unknown)]
    known = {row.gate.row["origin"]: row.gate.row for row in (*kept, *runs_kept) if row.gate.row}
    consent_units.add_missing(connection, origins, list(known.values()))
    offered = {row.tools["tools"]: row.tools for row in kept if row.tools}
    consent_units.add_missing(connection, tool_sets, list(offered.values()))
    if kept:
        connection.execute(insert_or_keep(dialect, attempts), [row.row for row in kept])
    if runs_kept:
        statement = insert_or_update(dialect, runs, _TOLD, "updated_at")
        connection.execute(statement, [row.row for row in runs_kept])
    return len(told) - len(kept)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of attempts that were brought.

    Args:
        new: that were written.
        known: that were there already, or came twice.
        denied: that may not be kept.
        refused: that cannot be stored.
    """

    new: int = 0
    known: int = 0
    denied: int = 0
    refused: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(
            self.new + other.new,
            self.known + other.known,
            self.denied + other.denied,
            self.refused + other.refused,
        )


def bring(
    connection: Connection,
    told: Sequence[ToldRow],
    began: Sequence[ToldRow],
    said: Sequence[ToldRow],
    *,
    unknown: bool,
) -> Added:
    """Save attempts, runs and feedback from elsewhere, each once."""
    names = [row.row["trace"] for row in told]
    before = _count(connection, names)
    denied = save(connection, told, began, unknown=unknown)
    new = _count(connection, names) - before
    states = consent_units.states(connection, {thread for row in said for thread in row.gate.threads})
    rows = [row.row for row in said if row.gate.opens(states, unknown=unknown)]
    if rows:
        connection.execute(insert_or_keep(connection.dialect.name, feedback), rows)
    return Added(new=new, known=len(told) - denied - new, denied=denied)


def _count(connection: Connection, traces: Sequence[bytes]) -> int:
    query = select(func.count()).select_from(attempts)
    return sum(
        int(connection.execute(query.where(attempts.c.trace.in_(chunk))).scalar_one())
        for chunk in consent_units.chunks(list(dict.fromkeys(traces)))
    )


def definitions(connection: Connection, digest: bytes) -> str | None:
    """Definitions of tools as JSON, by their digest."""
    query = select(tool_sets.c.definitions).where(tool_sets.c.tools == digest)
    found: str | None = connection.execute(query).scalar()
    return found


def outcomes(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, str]:
    """How runs ended, by their keys."""
    found: dict[bytes, str] = {}
    for chunk in consent_units.chunks(keys):
        query = select(runs.c.run, runs.c.outcome).where(runs.c.run.in_(chunk))
        found |= {bytes(row.run): row.outcome for row in connection.execute(query)}
    return found


def opinions(connection: Connection, traces: Sequence[bytes], keys: Sequence[bytes]) -> list[Row]:
    """What was said of attempts, and of runs as a whole, oldest first."""
    found: list[Row] = []
    for chunk in consent_units.chunks(traces):
        found += connection.execute(select(feedback).where(feedback.c.trace.in_(chunk))).all()
    for chunk in consent_units.chunks(keys):
        of_run = and_(feedback.c.trace.is_(None), feedback.c.run.in_(chunk))
        found += connection.execute(select(feedback).where(of_run)).all()
    return sorted(found, key=lambda row: row.created_at)


def find(connection: Connection, wanted: str, threads: Sequence[str] | None) -> list[Found]:
    """Attempts by trace id, or runs by their id."""
    c, found = attempts.c, list[Found]()
    if (trace := trace_key(wanted)) is not None:
        query = select(c.trace, c.run, c.run_id, c.thread_id).where(c.trace == trace)
        found += [Found(bytes(row.trace), *map(bytes, row[1:])) for row in connection.execute(query)]
    rows = connection.execute(
        select(runs.c.run, runs.c.run_id, runs.c.thread_id).where(runs.c.run_id == encoded(wanted))
    )
    found += [Found(None, *map(bytes, row)) for row in rows]
    return [one for one in found if threads is None or one.thread_id in map(encoded, threads)]


def run_ids(connection: Connection, beginning: str) -> list[str]:
    """The id itself if there are attempts of such a run, else the ids that begin so, two at most."""
    c, start = attempts.c, encoded(beginning)
    whole = select(c.run_id).where(c.run_id == start).limit(1)
    if connection.execute(whole).first() is not None:
        return [beginning]
    # No text has a byte 255 as UTF-8.
    query = select(c.run_id).where(c.run_id >= start, c.run_id < start + b"\xff").distinct()
    return [text(run) for run in connection.execute(query.order_by(c.run_id).limit(2)).scalars()]


def add_feedback(connection: Connection, row: dict[str, Any]) -> None:
    """Save what somebody said."""
    connection.execute(insert_or_keep(connection.dialect.name, feedback), row)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Which rows of a table are asked for, in order of time; all of their columns, or some."""

    table: Table
    moment: Column[datetime]
    conditions: tuple[ColumnElement[bool], ...]
    newest_first: bool
    columns: Sequence[str] = ()

    def query(self, after: Row | None, size: int) -> Select[Any]:
        """The next rows after a row."""
        key = next(iter(self.table.primary_key))
        conditions = list(self.conditions)
        if after is not None:
            at, name = after._mapping[self.moment.name], after._mapping[key.name]
            if self.newest_first:
                conditions.append(or_(self.moment < at, and_(self.moment == at, key < name)))
            else:
                conditions.append(or_(self.moment > at, and_(self.moment == at, key > name)))
        order = (self.moment.desc(), key.desc()) if self.newest_first else (self.moment, key)
        asked: list[Any] = [self.table.c[name] for name in self.columns] or [self.table]
        return select(*asked).where(*conditions).order_by(*order).limit(size)


def matching_attempts(
    *,
    run_id: str | None,
    threads: Sequence[str] | None,
    worker: str | None,
    tier: str | None,
    accepted: bool | None,
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    newest_first: bool,
) -> Page:
    """Attempts; None asks for all. `threads` are the names of one thread."""
    c = attempts.c
    conditions: list[ColumnElement[bool]] = []
    if run_id is not None:
        conditions.append(c.run_id == encoded(run_id))
    if threads is not None:
        conditions.append(c.thread.in_([digest(thread) for thread in threads]))
    if worker is not None:
        conditions.append(c.worker == encoded(worker))
    if tier is not None:
        conditions.append(c.tier == encoded(tier))
    if accepted is not None:
        conditions.append(c.accepted == accepted)
    if reason is not None:
        conditions.append(c.reason == reason)
    conditions += between(c.created_at, since, until)
    return Page(table=attempts, moment=c.created_at, conditions=tuple(conditions), newest_first=newest_first)


def matching_runs(
    *,
    run_id: str | None,
    threads: Sequence[str] | None,
    outcome: str | None,
    since: datetime | None,
    until: datetime | None,
    newest_first: bool,
) -> Page:
    """Runs; None asks for all."""
    c = runs.c
    conditions: list[ColumnElement[bool]] = []
    if run_id is not None:
        conditions.append(c.run_id == encoded(run_id))
    if threads is not None:
        conditions.append(c.thread.in_([digest(thread) for thread in threads]))
    if outcome is not None:
        conditions.append(c.outcome == outcome)
    conditions += between(c.started_at, since, until)
    return Page(table=runs, moment=c.started_at, conditions=tuple(conditions), newest_first=newest_first)


def matching_feedback(*, trace_id: str | None, run_id: str | None, newest_first: bool) -> Page:
    """Feedback; None asks for all."""
    c = feedback.c
    conditions: list[ColumnElement[bool]] = []
    if trace_id is not None:
        # An id that is none matches nothing.
        conditions.append(c.trace == (trace_key(trace_id) or b""))
    if run_id is not None:
        conditions.append(c.run_id == encoded(run_id))
    return Page(table=feedback, moment=c.created_at, conditions=tuple(conditions), newest_first=newest_first)


def delete_older(connection: Connection, before: datetime, size: int) -> int:
    """Delete up to so many attempts and runs that are older, with their feedback; how many they were."""
    c = attempts.c
    old = select(c.trace).where(c.created_at < before).order_by(c.created_at).limit(size)
    gone = delete_attempts(connection, list(connection.execute(old).scalars()))
    old = select(runs.c.run).where(runs.c.started_at < before, runs.c.updated_at < before).limit(size)
    return gone + delete_runs(connection, list(connection.execute(old).scalars()))


def delete_attempts(connection: Connection, traces: Sequence[bytes]) -> int:
    """Delete attempts, with what was said of them and their places in clusters; how many they were."""
    if not traces:
        return 0
    for table in (feedback, members):
        connection.execute(delete(table).where(table.c.trace.in_(traces)))
    return connection.execute(delete(attempts).where(attempts.c.trace.in_(traces))).rowcount


def delete_runs(connection: Connection, keys: Sequence[bytes]) -> int:
    """Delete runs, with what was said of them; how many they were."""
    if not keys:
        return 0
    connection.execute(delete(feedback).where(feedback.c.trace.is_(None), feedback.c.run.in_(keys)))
    return connection.execute(delete(runs).where(runs.c.run.in_(keys))).rowcount


def trace_key(trace_id: str) -> bytes | None:
    """The key of an attempt, or None if this is no id of one."""
    try:
        found = bytes.fromhex(trace_id)
    except ValueError:
        return None
    return found if len(found) == 16 else None


def encoded(value: str) -> bytes:
    """A text as the tables hold it."""
    return value.encode("utf-8", "surrogatepass")


def between(
    moment: Column[datetime], since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    """Conditions on a moment; `until` is not included."""
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(moment >= since)
    if until is not None:
        conditions.append(moment < until)
    return conditions
