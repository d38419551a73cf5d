"""What consents and retention do to the database, each a function of a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, or_, select
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence.insert import insert_or_keep, insert_or_update
from stellwerk.persistence.origins import ConsentState
from stellwerk.persistence.schema.conversion import examples
from stellwerk.persistence.schema.origins import consents, origins
from stellwerk.persistence.schema.traces import attempts, runs

Row = Any  # of SQLAlchemy's; its columns are those of the statement

_CHUNK = 500  # keys in one statement


@dataclass(frozen=True, slots=True)
class Consent:
    """What is known of whether the traces of a thread may be kept.

    Args:
        state: `granted`, `denied`, or `unknown`.
        keep_days: after so many days its traces are deleted; None where the general rule counts.
        who: said so; None where nobody is named.
        changed_at: when.
    """

    state: ConsentState
    keep_days: int | None
    who: str | None
    changed_at: datetime


def states(connection: Connection, threads: Collection[bytes]) -> dict[bytes, str]:
    """What is stored of threads, by their hashes."""
    found = {}
    for chunk in chunks(list(threads)):
        query = select(consents.c.thread, consents.c.consent).where(consents.c.thread.in_(chunk))
        found.update({bytes(row.thread): row.consent for row in connection.execute(query)})
    return found


def add_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that are not there yet; looked for first, as most are, and an insert would lock them."""
    key = next(iter(table.primary_key))
    missing = {row[key.name]: row for row in rows}
    for chunk in chunks(list(missing)):
        for found in connection.execute(select(key).where(key.in_(chunk))).scalars():
            del missing[bytes(found)]
    if missing:
        # In one order, so that two processes never wait for each other.
        ordered = [missing[name] for name in sorted(missing)]
        connection.execute(insert_or_keep(connection.dialect.name, table), ordered)


def get(connection: Connection, threads: Sequence[bytes]) -> Consent | None:
    """What is stored of a thread under any of its hashes; a denial counts before all else."""
    query = select(consents).where(consents.c.thread.in_(threads))
    found = [_consent(row) for row in connection.execute(query)]
    found.sort(key=lambda one: (one.state == "denied", one.changed_at), reverse=True)
    return found[0] if found else None


def put(
    connection: Connection,
    threads: Sequence[bytes],
    *,
    state: ConsentState,
    keep_days: int | None,
    who: str | None,
) -> None:
    """Store what is known of a thread: under its keyed hashes, and under the other where that is in use."""
    keyed, plain = threads[:-1], threads[-1]
    used = list(keyed) if keyed and not _is_used(connection, plain) else list(threads)
    now = datetime.now(UTC)
    rows = [
        {"thread": thread, "consent": state, "keep_days": keep_days, "who": who, "changed_at": now}
        for thread in sorted(used)
    ]
    columns = ("consent", "keep_days", "who", "changed_at")
    connection.execute(insert_or_update(connection.dialect.name, consents, columns), rows)


def count(connection: Connection) -> dict[str, int]:
    """How many hashes of threads have each state."""
    query = select(consents.c.consent, func.count()).group_by(consents.c.consent)
    return {row[0]: row[1] for row in connection.execute(query)}


def ruled(connection: Connection, after: bytes, size: int) -> list[Row]:
    """Threads, in order, of which nothing may be kept, or not for ever."""
    c = consents.c
    query = select(c.thread, c.consent, c.keep_days).where(c.thread > after)
    query = query.where(or_(c.consent == "denied", c.keep_days.is_not(None)))
    return list(connection.execute(query.order_by(c.thread).limit(size)).all())


def overdue(rule: Row, now: datetime) -> datetime:
    """Before which moment nothing of a thread may be kept."""
    if rule.consent == "denied":
        return now + timedelta(days=1)  # what a clock that goes before wrote, too
    return now - timedelta(days=rule.keep_days)


def of_thread(connection: Connection, table: Table, thread: bytes) -> ColumnElement[bool]:
    """Rows of attempts, runs or examples that come from a thread."""
    known = [
        bytes(found)
        for found in connection.execute(select(origins.c.origin).where(origins.c.thread == thread)).scalars()
    ]
    its = table.c.origin.in_(known)
    # Of an older version, which knew no origins.
    return or_(its, and_(table.c.origin.is_(None), table.c.thread == thread)) if "thread" in table.c else its


def unruled(table: Table) -> ColumnElement[bool]:
    """Rows of threads for which no number of days is set."""
    named = (
        select(origins.c.origin)
        .join(consents, consents.c.thread == origins.c.thread)
        .where(origins.c.origin == table.c.origin, consents.c.keep_days.is_not(None))
    )
    return ~named.exists()


def delete_examples(connection: Connection, condition: ColumnElement[bool], size: int) -> int:
    """Delete up to so many examples of datasets."""
    key = (examples.c.dataset, examples.c.trace)
    found = connection.execute(select(*key).where(condition).limit(size)).all()
    for dataset in {row.dataset for row in found}:
        traces = [row.trace for row in found if row.dataset == dataset]
        connection.execute(
            delete(examples).where(examples.c.dataset == dataset, examples.c.trace.in_(traces))
        )
    return len(found)


def chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """So many keys as a statement takes."""
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def _is_used(connection: Connection, thread: bytes) -> bool:
    return any(
        connection.execute(select(table.c.thread).where(table.c.thread == thread).limit(1)).first()
        is not None
        for table in (origins, consents, attempts, runs)
    )


def _consent(row: Row) -> Consent:
    return Consent(row.consent, row.keep_days, row.who, row.changed_at)
