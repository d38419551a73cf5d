"""What runs and leases do to the database, each a function of a connection.

All moments are compared by the database's clock, in the statement that acts on the outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Select, and_, bindparam, delete, false, or_, select, tuple_, update
from sqlalchemy import text as sql
from sqlalchemy.sql import ColumnElement

from stellwerk.errors import LeaseError
from stellwerk.persistence.checkpoint_codec import thread_key
from stellwerk.persistence.clock import from_now, idle_limit, now
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.schema.columns import EVER, text
from stellwerk.persistence.schema.runs import leases, runs

Row = Any  # of SQLAlchemy's; its columns are those of the statement

Status = Literal["running", "done", "failed", "interrupted", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)

THREAD = leases.c.thread == bindparam("thread_")
_MINE = and_(THREAD, leases.c.token == bindparam("token_"))
_TAKE = (
    update(leases)
    .where(leases.c.thread == bindparam("thread_"), leases.c.expires_at <= now())
    .values(
        token=leases.c.token + 1,
        run=bindparam("run_"),
        holder=bindparam("holder_"),
        expires_at=from_now("ttl_"),
    )
)
# By the keys as well: over pairs alone, InnoDB would look at all rows, and lock them.
_THREADS = leases.c.thread.in_(bindparam("threads_", expanding=True))
_RENEW = (
    update(leases)
    .where(
        _THREADS,
        tuple_(leases.c.thread, leases.c.token).in_(bindparam("mine_", expanding=True)),
        leases.c.expires_at > now(),
    )
    .values(expires_at=from_now("ttl_"))
)
_FREE = update(leases).where(_MINE).values(expires_at=EVER)
# A take-over waits until the transaction that reads this has ended; SQLite's holds the whole file.
FENCE = (
    select(leases.c.token, idle_limit()).where(_MINE, leases.c.expires_at > now()).with_for_update(read=True)
)
_LIVE_LEASE = select((leases.c.expires_at > now()).label("live")).where(THREAD).with_for_update(read=True)
_SHOWN = select(
    leases, runs.c.started_at, runs.c.cancel_requested, (leases.c.expires_at > now()).label("live")
).join_from(leases, runs, runs.c.run == leases.c.run, isouter=True)
_LEASE = _SHOWN.where(leases.c.thread == bindparam("thread_"))
_LEASES = _SHOWN.where(_THREADS)
# A run whose process died says `running` for good: it runs only as long as its lease.
_LIVE = and_(runs.c.status == "running", leases.c.run.is_not(None))
_RUN = select(runs, leases.c.expires_at).join_from(
    runs,
    leases,
    and_(leases.c.thread == runs.c.thread, leases.c.run == runs.c.run, leases.c.expires_at > now()),
    isouter=True,
)
_NEWEST = (runs.c.started_at.desc(), runs.c.run.desc())


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a thread. Moments are of the database's clock.

    Args:
        run_id: a UUID.
        thread_id: the thread.
        task: what was asked, cut to 500 characters.
        status: `interrupted` also if its process ended without a word.
        started_at: when it claimed the thread.
        ended_at: when it said that it had ended.
        holder: host and process id.
        version: of Stellwerk.
        cancel_requested: whether somebody asked for it to be cancelled.
        error: what it ended with, or None.
        totals: what it cost, or None.
        expires_at: when its lease ends unless it is renewed; None if it does not run.
    """

    run_id: str
    thread_id: str
    task: str
    status: Status
    started_at: datetime
    ended_at: datetime | None
    holder: str
    version: str
    cancel_requested: bool
    error: str | None
    totals: dict[str, Any] | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants a thread, and for what. The run's id tells whether an earlier try already got it."""

    thread_id: str
    run_id: str
    task: str
    holder: str
    version: str
    ttl: float  # seconds


def reserve(connection: Connection, thread: bytes) -> None:
    """See that the thread has a lease, free if it is new: a row to lock, also if it was never claimed."""
    free = {"thread": thread, "token": 0, "run": None, "holder": "", "expires_at": EVER}
    connection.execute(insert_or_keep(connection.dialect.name, leases), free)


def claim(connection: Connection, wanted: Claim) -> Lease:
    """Take the thread's lease if it is free or has expired, and begin the run.

    Raises:
        LeaseError: if another holds it.
    """
    thread, run = thread_key(wanted.thread_id), wanted.run_id.encode()
    if connection.dialect.name == "postgresql":
        # A holder that stands still in the middle of a write keeps its row locked, without an end there.
        connection.execute(sql("SET LOCAL lock_timeout = '10s'"))
    # First, so that there is a row to wait for: two that both find none would deadlock on InnoDB.
    reserve(connection, thread)
    parameters = {
        "thread_": thread,
        "run_": run,
        "holder_": wanted.holder,
        "ttl_": _microseconds(wanted.ttl),
    }
    connection.execute(_TAKE, parameters)
    row = connection.execute(_LEASE, {"thread_": thread}).one()
    if row.run is None or bytes(row.run) != run:
        raise LeaseError(_held(wanted.thread_id, row))
    lost = select(runs.c.run).where(runs.c.thread == thread, runs.c.status == "running", runs.c.run != run)
    # By their keys: an update over the index would lock the rows of other threads on InnoDB.
    for other in connection.execute(lost).scalars().all():
        connection.execute(
            update(runs)
            .where(runs.c.run == other, runs.c.status == "running")
            .values(status="interrupted", ended_at=now(), error=_taken_over(wanted.holder))
        )
    begin = insert_or_keep(connection.dialect.name, runs).values(
        run=run,
        thread=thread,
        thread_id=wanted.thread_id.encode("utf-8", "surrogatepass"),
        task=wanted.task,
        status="running",
        started_at=now(),
        holder=wanted.holder,
        version=wanted.version,
        cancel_requested=False,
    )
    connection.execute(begin)
    row = connection.execute(_LEASE, {"thread_": thread}).one()
    return _lease(row, wanted.thread_id, wanted.ttl)


@contextmanager
def kept_free(connection: Connection, thread: bytes) -> Iterator[bool]:
    """Whether nobody holds a thread; if so, nobody can claim it until the transaction ends."""
    reserve(connection, thread)
    live = connection.execute(_LIVE_LEASE, {"thread_": thread}).scalar_one()
    yield not live
    # One that no claim ever counted up was put here a moment ago; the tokens of the others must go on.
    connection.execute(delete(leases).where(leases.c.thread == thread, leases.c.token == 0))


def live_threads(connection: Connection) -> set[bytes]:
    """The threads that are held at this moment."""
    return set(connection.execute(select(leases.c.thread).where(leases.c.expires_at > now())).scalars())


def ended_before(connection: Connection, before: datetime, after: bytes, size: int) -> list[bytes]:
    """Keys, in order, of runs that ended before a moment; one whose process died counts by its start."""
    held = select(leases.c.run).where(leases.c.run == runs.c.run, leases.c.expires_at > now()).exists()
    ended = or_(runs.c.ended_at < before, and_(runs.c.ended_at.is_(None), ~held))
    query = select(runs.c.run).where(runs.c.run > after, runs.c.started_at < before, ended)
    return [bytes(run) for run in connection.execute(query.order_by(runs.c.run).limit(size)).scalars()]


def delete_runs(connection: Connection, keys: Sequence[bytes]) -> int:
    """Delete runs, not the leases that name them: a thread's tokens have to go on growing."""
    return connection.execute(delete(runs).where(runs.c.run.in_(keys))).rowcount


def renew(connection: Connection, lease: Lease) -> Lease:
    """The lease, good for another `ttl` from now.

    Raises:
        LeaseError: if it has expired, or was taken over.
    """
    (found,) = renew_all(connection, [lease])
    if isinstance(found, LeaseError):
        raise found
    return found


def renew_all(connection: Connection, held: Sequence[Lease]) -> list[Lease | LeaseError]:
    """Each lease as `renew` gives it, or the error."""
    mine = [(thread_key(lease.thread_id), lease.token) for lease in held]
    for ttl in {lease.ttl for lease in held}:
        pairs = [pair for pair, lease in zip(mine, held, strict=True) if lease.ttl == ttl]
        parameters = {"threads_": [thread for thread, _ in pairs], "mine_": pairs, "ttl_": _microseconds(ttl)}
        connection.execute(_RENEW, parameters)
    rows = connection.execute(_LEASES, {"threads_": [thread for thread, _ in mine]})
    by_thread = {bytes(row.thread): row for row in rows}
    found: list[Lease | LeaseError] = []
    for lease, (thread, token) in zip(held, mine, strict=True):
        row = by_thread.get(thread)
        # One that is live by now was live before, or it would have another token.
        if row is not None and row.live and row.token == token:
            found.append(_lease(row, lease.thread_id, lease.ttl))
        else:
            found.append(LeaseError(_lost(lease.thread_id, token, row)))
    return found


def release(
    connection: Connection,
    lease: Lease,
    *,
    status: Status,
    error: str | None,
    totals: str | None,
) -> None:
    """End the run and free the thread, also where the lease has expired and nobody took it.

    Raises:
        LeaseError: if it was taken over.
    """
    run = lease.run_id.encode()
    mine = _mine(lease.thread_id, lease.token)
    if not connection.execute(_FREE, mine).rowcount:
        ended = connection.execute(select(runs.c.status).where(runs.c.run == run)).scalar()
        if ended == status and status != "interrupted":
            return  # an earlier try did it, and the thread has a new holder since, who writes `interrupted`
        row = connection.execute(_LEASE, {"thread_": mine["thread_"]}).one_or_none()
        raise LeaseError(_lost(lease.thread_id, lease.token, row))
    connection.execute(
        update(runs)
        .where(runs.c.run == run, runs.c.status == "running")
        .values(
            status=status,
            ended_at=now(),
            error=error,
            totals=totals,
        )
    )


def request_cancel(connection: Connection, run_id: str) -> Run | None:
    """Ask a run to end, if it runs; the run as it was found."""
    found = get(connection, run_id)
    if found is not None and found.status == "running":
        asked = update(runs).where(runs.c.run == run_id.encode(), runs.c.status == "running")
        connection.execute(asked.values(cancel_requested=True))
    return found


def get(connection: Connection, run_id: str) -> Run | None:
    """A run by its id."""
    row = connection.execute(_RUN.where(runs.c.run == run_id.encode("utf-8", "surrogatepass"))).first()
    return None if row is None else _run(row)


def latest(connection: Connection, thread_id: str) -> Run | None:
    """The newest run of a thread."""
    return next(iter(listing(connection, thread_id=thread_id, statuses=None, limit=1)), None)


def beginning(connection: Connection, prefix: str) -> list[Run]:
    """The runs whose ids begin so, two at most."""
    start = prefix.encode("ascii")
    query = _RUN.where(runs.c.run >= start, runs.c.run < start + b"\xff").order_by(runs.c.run).limit(2)
    return [_run(row) for row in connection.execute(query).all()]


def listing(
    connection: Connection, *, thread_id: str | None, statuses: Sequence[Status] | None, limit: int | None
) -> list[Run]:
    """Runs, newest first."""
    query: Select[Any] = _RUN.order_by(*_NEWEST).limit(limit)
    if thread_id is not None:
        query = query.where(runs.c.thread == thread_key(thread_id))
    if statuses is not None:
        query = query.where(or_(false(), *(_has(status) for status in statuses)))
    return [_run(row) for row in connection.execute(query).all()]


def _has(status: Status) -> ColumnElement[bool]:
    if status == "running":
        return _LIVE
    if status == "interrupted":
        return or_(runs.c.status == status, and_(runs.c.status == "running", leases.c.run.is_(None)))
    return runs.c.status == status


def _mine(thread_id: str, token: int) -> dict[str, Any]:
    return {"thread_": thread_key(thread_id), "token_": token}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _lease(row: Row, thread_id: str, ttl: float) -> Lease:
    return Lease(
        thread_id=thread_id,
        run_id=text(row.run),
        token=row.token,
        holder=row.holder,
        ttl=ttl,
        started_at=row.started_at,
        expires_at=row.expires_at,
        cancel_requested=bool(row.cancel_requested),
    )


def _run(row: Row) -> Run:
    dead = row.status == "running" and row.expires_at is None
    return Run(
        run_id=text(row.run),
        thread_id=text(row.thread_id),
        task=row.task,
        status="interrupted" if dead else row.status,
        started_at=row.started_at,
        ended_at=row.ended_at,
        holder=row.holder,
        version=row.version,
        cancel_requested=bool(row.cancel_requested),
        error="its process ended, or stood still, without a word" if dead else row.error,
        totals=None if row.totals is None else json.loads(row.totals),
        expires_at=row.expires_at if row.status == "running" else None,
    )


def _held(thread_id: str, row: Row) -> str:
    name = repr(thread_id)
    if not row.live:
        return f"thread {name} was held a moment ago; try again"
    return (
        f"thread {name} is held by {row.holder} since {_at(row.started_at)} and until "
        f"{_at(row.expires_at)} unless renewed; wait for it, or cancel its run {text(row.run)}"
    )


def _lost(thread_id: str, token: int, row: Row | None) -> str:
    name = repr(thread_id)
    if row is None:
        return f"thread {name} has no lease in this database; claim it where its checkpoints are"
    if row.token != token:
        holder = f"by {row.holder}, run {text(row.run)}" if row.run is not None else "since"
        return (
            f"thread {name} was taken over {holder} (token {row.token}, this one has {token}); "
            "nothing more is written here; claim it again to go on"
        )
    if row.expires_at == EVER:
        return f"the lease of thread {name} was released (token {token}); claim it again to go on"
    return (
        f"the lease of thread {name} ended at {_at(row.expires_at)} without being renewed (token {token}); "
        "nothing more is written here; claim it again to go on"
    )


def _taken_over(holder: str) -> str:
    return f"its lease ended, and {holder} took the thread over"


def _at(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
