"""Sums over traces, for a report: each a function of a connection. The database adds up, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, and_, case, func, select
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence.clock import now
from stellwerk.persistence.schema.checkpoints import checkpoints
from stellwerk.persistence.schema.columns import digest, text
from stellwerk.persistence.schema.runs import leases
from stellwerk.persistence.schema.runs import runs as held_runs
from stellwerk.persistence.schema.traces import attempts, runs
from stellwerk.persistence.trace_units import between, encoded

Row = Any  # of SQLAlchemy's; its columns are those of the statement
Visible = Callable[[Table], ColumnElement[bool]]
"""Which rows may be seen: a condition on `thread_id` (bytes, UTF-8) of a table of runs or attempts."""

SHARES = (50, 95)  # percentiles, each the value that so many of a hundred do not exceed (nearest rank)
_LISTED = tuple(column for column in runs.c if column.name != "task")
_STAMP = (runs.c.run_id, runs.c.thread, runs.c.outcome, runs.c.updated_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which traces a report is about.

    Args:
        since: runs that began, and attempts that ended, from this moment on; None for all.
        until: before this moment.
        visible: rows that may be seen; None for all.
    """

    since: datetime | None = None
    until: datetime | None = None
    visible: Visible | None = None

    def of(self, table: Table, moment: Column[datetime]) -> list[ColumnElement[bool]]:
        """Its conditions on a table."""
        return [*between(moment, self.since, self.until), *self.seen(table)]

    def seen(self, table: Table) -> list[ColumnElement[bool]]:
        """Its conditions on a table, but for the time."""
        return [] if self.visible is None else [self.visible(table)]

    @property
    def _attempts(self) -> list[ColumnElement[bool]]:
        return self.of(attempts, attempts.c.created_at)

    @property
    def _runs(self) -> list[ColumnElement[bool]]:
        return self.of(runs, runs.c.started_at)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that half of so many did not exceed, and that 95 of 100 did not."""

    number: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Work:
    """Attempts of one worker on one tier. `usd` leaves out those on tiers without a price (`unpriced`)."""

    worker: str
    tier: str
    attempts: int
    accepted: int
    input: int
    cached: int
    output: int
    usd: float
    unpriced: int
    seconds: float


def threads_of(prefix: str) -> Visible:
    """Rows of threads whose names begin so, such as those of one tenant."""
    start = encoded(prefix)
    # No text has a byte 255 as UTF-8.
    return lambda table: and_(table.c.thread_id >= start, table.c.thread_id < start + b"\xff")


def outcomes(connection: Connection, chosen: Selection) -> dict[str, int]:
    """How many runs there are, by how they ended."""
    query = select(runs.c.outcome, func.count()).where(*chosen._runs).group_by(runs.c.outcome)
    return {outcome: int(number) for outcome, number in connection.execute(query)}


def running(connection: Connection, chosen: Selection, limit: int) -> list[str]:
    """Ids of the newest runs that said last that they run."""
    query = select(runs.c.run_id).where(runs.c.outcome == "running", *chosen._runs)
    rows = connection.execute(query.order_by(runs.c.started_at.desc()).limit(limit)).scalars()
    return [text(bytes(name)) for name in rows]


def latest(connection: Connection, chosen: Selection, limit: int, *, tasks: bool) -> list[Row]:
    """Runs, newest first; with their tasks, if those are asked for."""
    query = select(*_columns(tasks)).where(*chosen._runs)
    return list(connection.execute(query.order_by(runs.c.started_at.desc(), runs.c.run.desc()).limit(limit)))


def found(
    connection: Connection, chosen: Selection, name: str, thread_id: str | None, *, tasks: bool
) -> list[Row]:
    """Runs of this id, or whose ids begin so; two at most. Times of the selection do not count."""
    return _found(connection, chosen, name, thread_id, _columns(tasks))


def _found(
    connection: Connection,
    chosen: Selection,
    name: str,
    thread_id: str | None,
    columns: Sequence[Column[Any]],
) -> list[Row]:
    conditions = chosen.seen(runs)
    if thread_id is not None:
        conditions.append(runs.c.thread == digest(thread_id))
    start = encoded(name)
    whole = select(*columns).where(runs.c.run_id == start, *conditions).limit(2)
    if rows := list(connection.execute(whole)):
        return rows
    several = select(*columns).where(runs.c.run_id >= start, runs.c.run_id < start + b"\xff", *conditions)
    return list(connection.execute(several.order_by(runs.c.run_id).limit(2))) if name else []


def newest_of(connection: Connection, chosen: Selection, thread_id: str, *, tasks: bool) -> Row | None:
    """The newest run of a thread."""
    return _newest_of(connection, chosen, thread_id, _columns(tasks))


def _newest_of(
    connection: Connection, chosen: Selection, thread_id: str, columns: Sequence[Column[Any]]
) -> Row | None:
    query = select(*columns).where(runs.c.thread == digest(thread_id), *chosen.seen(runs))
    return connection.execute(query.order_by(runs.c.started_at.desc()).limit(1)).first()


def ledgers(connection: Connection, chosen: Selection, limit: int) -> list[str]:
    """The ledgers of runs that have ended, as JSON, newest first."""
    query = select(runs.c.ledger).where(runs.c.ledger.is_not(None), *chosen._runs)
    return list(connection.execute(query.order_by(runs.c.started_at.desc()).limit(limit)).scalars())


def run_latency(connection: Connection, chosen: Selection) -> Latency | None:
    """Of runs that have ended, from the task to the answer; None without any."""
    query = select(runs.c.outcome.label("name"), runs.c.wall_seconds.label("seconds"))
    query = query.where(runs.c.wall_seconds.is_not(None), *chosen._runs)
    ranked = _ranked(query, by_name=False)
    row = connection.execute(select(func.max(ranked.c.number), *_percentiles(ranked))).one()
    return _latency(row)


def worker_latency(connection: Connection, chosen: Selection) -> dict[str, Latency]:
    """Of subtasks, by worker: model time of all attempts at one."""
    c = attempts.c
    subtask = func.coalesce(c.episode, c.trace)  # attempts of an older version have no episode
    query = select(c.worker.label("name"), func.sum(c.seconds).label("seconds"))
    query = query.where(*chosen._attempts).group_by(c.worker, subtask)
    ranked = _ranked(query, by_name=True)
    sums = select(ranked.c.name, func.max(ranked.c.number), *_percentiles(ranked)).group_by(ranked.c.name)
    return {
        text(bytes(name)): latency
        for name, *row in connection.execute(sums)
        if (latency := _latency(row)) is not None
    }


def work(connection: Connection, chosen: Selection) -> list[Work]:
    """Attempts by worker and tier."""
    c = attempts.c
    query = select(
        c.worker,
        c.tier,
        func.count(),
        func.sum(case((c.accepted, 1), else_=0)),
        func.sum(c.input),
        func.sum(c.cached),
        func.sum(c.output),
        func.sum(c.usd),
        func.sum(case((c.usd.is_(None), 1), else_=0)),
        func.sum(c.seconds),
    )
    rows = connection.execute(query.where(*chosen._attempts).group_by(c.worker, c.tier))
    return [
        Work(
            text(bytes(worker)),
            text(bytes(tier)),
            int(made),
            int(accepted),
            int(read),
            int(cached),
            int(written),
            float(usd or 0),
            int(unpriced),
            float(taken),
        )
        for worker, tier, made, accepted, read, cached, written, usd, unpriced, taken in rows
    ]


def rejections(connection: Connection, chosen: Selection) -> dict[str, dict[str, int]]:
    """How many attempts were rejected, by worker and reason, the most frequent first."""
    c, number = attempts.c, func.count().label("number")
    query = select(c.worker, c.reason, number).where(c.accepted.is_(False), *chosen._attempts)
    rows = connection.execute(query.group_by(c.worker, c.reason).order_by(number.desc(), c.reason))
    told: dict[str, dict[str, int]] = {}
    for worker, reason, count in rows:
        told.setdefault(text(bytes(worker)), {})[reason or "rejected"] = int(count)
    return told


def dead(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Of these runs, those that said that they run, and whose lease has ended since."""
    if not run_ids:
        return set()
    alive = and_(
        leases.c.thread == held_runs.c.thread, leases.c.run == held_runs.c.run, leases.c.expires_at > now()
    )
    query = select(held_runs.c.run).join_from(held_runs, leases, alive, isouter=True)
    query = query.where(held_runs.c.run.in_([encoded(name) for name in run_ids]), leases.c.run.is_(None))
    return {text(bytes(name)) for name in connection.execute(query).scalars()}


def pulse(connection: Connection, chosen: Selection) -> str:
    """A text that changes whenever there is something new to see."""
    told = select(func.count(), func.max(runs.c.updated_at)).where(*chosen._runs)
    made = select(func.count(), func.max(attempts.c.created_at)).where(*chosen._attempts)
    return " ".join(str(value) for query in (told, made) for value in connection.execute(query).one())


def run_pulse(
    connection: Connection, chosen: Selection, name: str | None, thread_id: str | None
) -> str | None:
    """As `pulse`, for one run, named as for `found`, or the newest of a thread; None if there is no one such.

    Four statements on an index each, however large the run is: a page asks every few seconds.
    """
    if name:
        rows = _found(connection, chosen, name, thread_id, _STAMP)
    else:
        newest = _newest_of(connection, chosen, thread_id, _STAMP) if thread_id is not None else None
        rows = [] if newest is None else [newest]
    if len(rows) != 1:
        return None
    (run,) = rows
    made = select(func.count(), func.max(attempts.c.created_at))
    made = made.where(attempts.c.run_id == run.run_id, attempts.c.thread == run.thread)
    # A plan is there before the first attempt has ended.
    steps = select(checkpoints.c.checkpoint_id).order_by(checkpoints.c.checkpoint_id.desc()).limit(1)
    steps = steps.where(checkpoints.c.thread == run.thread, checkpoints.c.ns == digest(""))
    step = connection.execute(steps).scalar()
    died = run.outcome == "running" and bool(dead(connection, [text(bytes(run.run_id))]))
    told = [run.outcome, died, run.updated_at, *connection.execute(made).one(), step and text(bytes(step))]
    return " ".join(str(value) for value in told)


def _columns(tasks: bool) -> tuple[Column[Any], ...]:
    return (*_LISTED, runs.c.task) if tasks else _LISTED


def _ranked(values: Select[Any], *, by_name: bool) -> Any:
    """Seconds with their places in order, and how many there are, for each name or for all together."""
    inner = values.subquery()
    by = inner.c.name if by_name else None
    place = func.row_number().over(partition_by=by, order_by=inner.c.seconds).label("place")
    number = func.count().over(partition_by=by).label("number")
    return select(inner.c.name, inner.c.seconds, place, number).subquery()


def _percentiles(ranked: Any) -> list[Any]:
    c = ranked.c
    return [
        func.max(
            case(
                (
                    and_(c.place * 100 >= c.number * share, (c.place - 1) * 100 < c.number * share),
                    c.seconds,
                )
            )
        )
        for share in SHARES
    ]


def _latency(row: Any) -> Latency | None:
    number, p50, p95 = row
    return None if not number else Latency(int(number), float(p50), float(p95))
