"""What it takes to forget somebody, each a function of a connection.

Deletions come in pages, each of which is a unit: one that is broken off goes on where it was, as what is gone
is not found again. What leads to the rest, the origins, goes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, or_, select, update
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence import checkpoint_units, consent_units, run_units, store_units, trace_units
from stellwerk.persistence.schema.checkpoints import checkpoints
from stellwerk.persistence.schema.columns import digest, key, text
from stellwerk.persistence.schema.conversion import adapters, examples, members
from stellwerk.persistence.schema.effects import effects
from stellwerk.persistence.schema.items import items
from stellwerk.persistence.schema.origins import origins
from stellwerk.persistence.schema.runs import runs as run_records
from stellwerk.persistence.schema.traces import attempts, feedback, runs
from stellwerk.persistence.store_codec import namespace

PAGE = 500  # rows at a time
CACHES = (("stellwerk-results",), ("stellwerk", "plans"))
"""Where answers and plans of before are, of which nobody can tell whom they come from."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of whoever is to be forgotten.

    Args:
        origins: of their traces.
        threads: hashes of the threads in which they took part.
        shared: those of them in which others took part as well, who are not to be forgotten.
    """

    origins: tuple[bytes, ...]
    threads: frozenset[bytes]
    shared: frozenset[bytes]


def known(connection: Connection, persons: Sequence[bytes], threads: Sequence[bytes]) -> Known:
    """The origins of persons and of threads."""
    c = origins.c
    asked = or_(c.person.in_(persons), c.thread.in_(threads))
    rows = connection.execute(select(c.origin, c.thread).where(asked)).all()
    found = {bytes(row.thread) for row in rows if row.thread is not None}
    shared: set[bytes] = set()
    for chunk in consent_units.chunks(sorted(found - set(threads))):
        others = and_(c.thread.in_(chunk), c.person.is_not(None), c.person.not_in(persons))
        shared.update(
            bytes(thread) for thread in connection.execute(select(c.thread).where(others)).scalars()
        )
    return Known(tuple(bytes(row.origin) for row in rows), frozenset({*found, *threads}), frozenset(shared))


def parts(found: Known, names: Sequence[str]) -> Iterator[tuple[Known, Sequence[str]]]:
    """Somebody's origins and threads in pieces that a statement takes."""
    size = max(len(found.origins), len(names), 1)
    for start in range(0, size, PAGE):
        end = start + PAGE
        yield replace(found, origins=found.origins[start:end]), names[start:end]


def theirs(table: Table, found: Known, names: Sequence[str]) -> ColumnElement[bool]:
    """Rows of attempts, runs or examples: by their origins, or of an older version by the threads' names."""
    its = table.c.origin.in_(found.origins)
    if "thread" not in table.c or not names:
        return its
    return or_(its, table.c.thread.in_([digest(name) for name in names]))


def count(connection: Connection, found: Known, names: Sequence[str]) -> dict[str, int]:
    """How many traces, runs, pieces of feedback, examples and places in clusters there are."""

    def how_many(table: Table, condition: ColumnElement[bool]) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one())

    traces = select(attempts.c.trace).where(theirs(attempts, found, names))
    ended = select(runs.c.run).where(theirs(runs, found, names))
    about_run = and_(feedback.c.trace.is_(None), feedback.c.run.in_(ended))
    return {
        "traces": how_many(attempts, theirs(attempts, found, names)),
        "runs": how_many(runs, theirs(runs, found, names)),
        "feedback": how_many(feedback, or_(feedback.c.trace.in_(traces), about_run)),
        "examples": how_many(examples, or_(theirs(examples, found, ()), examples.c.trace.in_(traces))),
        "members": how_many(members, members.c.trace.in_(traces)),
    }


def adapters_of(connection: Connection, found: Known, names: Sequence[str]) -> set[str]:
    """Adapters that were trained on somebody's examples."""
    traces = select(attempts.c.trace).where(theirs(attempts, found, names))
    seen = select(examples.c.dataset).where(or_(theirs(examples, found, ()), examples.c.trace.in_(traces)))
    query = select(adapters.c.adapter).where(adapters.c.dataset.in_(seen))
    return {text(bytes(name)) for name in connection.execute(query).scalars()}


def mark_adapters(connection: Connection, found: Known, names: Sequence[str], now: datetime) -> None:
    """Note that adapters are to be trained again; before their examples are gone, which say so."""
    for name in adapters_of(connection, found, names):
        which = and_(adapters.c.adapter == key("adapter", name), adapters.c.forgot_at.is_(None))
        connection.execute(update(adapters).where(which).values(forgot_at=now))


def to_retrain(connection: Connection) -> list[str]:
    """Adapters that are in use, or may be, and have seen examples of somebody who was forgotten since."""
    c = adapters.c
    query = select(c.adapter).where(c.forgot_at.is_not(None), c.state != "retired").order_by(c.adapter)
    return [text(bytes(name)) for name in connection.execute(query).scalars()]


def delete_page(connection: Connection, found: Known, names: Sequence[str]) -> dict[str, int]:
    """Delete some examples, attempts and runs with what hangs on them; nothing where none are left."""
    query = select(attempts.c.trace).where(theirs(attempts, found, names)).limit(PAGE)
    traces = [bytes(trace) for trace in connection.execute(query).scalars()]
    its = or_(theirs(examples, found, ()), examples.c.trace.in_(traces))
    gone = {"examples": consent_units.delete_examples(connection, its, PAGE)}
    if gone["examples"] == PAGE:
        return gone  # before the attempts that lead to them
    about = feedback.c.trace.in_(traces)
    gone["feedback"] = _count(connection, feedback, about)
    gone["members"] = _count(connection, members, members.c.trace.in_(traces))
    gone["traces"] = trace_units.delete_attempts(connection, traces)
    query = select(runs.c.run).where(theirs(runs, found, names)).limit(PAGE)
    ended = [bytes(run) for run in connection.execute(query).scalars()]
    gone["feedback"] += _count(
        connection, feedback, and_(feedback.c.trace.is_(None), feedback.c.run.in_(ended))
    )
    gone["runs"] = trace_units.delete_runs(connection, ended)
    return gone


def thread_names(connection: Connection, table: Table, after: bytes) -> list[tuple[bytes, str]]:
    """Some of the threads in a table, in order: what it calls them, and their ids."""
    c = table.c
    query = select(c.thread, c.thread_id).where(c.thread > after).distinct().order_by(c.thread).limit(PAGE)
    return [(bytes(row.thread), text(bytes(row.thread_id))) for row in connection.execute(query)]


THREADED = (checkpoints, run_records, effects)


def delete_thread(connection: Connection, name: str) -> bool:
    """Delete the checkpoints, the runs and the writes of tools of a thread; false where a run holds it."""
    thread = digest(name)
    with run_units.kept_free(connection, thread) as free:
        if free:
            checkpoint_units.delete_thread(connection, thread)
            for table in (effects, run_records):
                connection.execute(delete(table).where(table.c.thread == thread))
        return free


def items_named(connection: Connection, after: bytes, labels: frozenset[str]) -> tuple[list[bytes], bytes]:
    """Of the next items, those under one of the labels, or with one as their key; and the last item."""
    c = items.c
    query = select(c.item, c.namespace, c.namespace_rest, c.key).where(c.item > after)
    rows = connection.execute(query.order_by(c.item).limit(PAGE)).all()
    named = [
        bytes(row.item)
        for row in rows
        if labels & {*namespace(row.namespace, row.namespace_rest), text(bytes(row.key))}
    ]
    return named, bytes(rows[-1].item) if rows else b""


def cached(connection: Connection) -> list[bytes]:
    """Some of the answers and plans of before."""
    its = or_(*(store_units.below(prefix) for prefix in CACHES))
    return [bytes(item) for item in connection.execute(select(items.c.item).where(its).limit(PAGE)).scalars()]


def count_cached(connection: Connection) -> int:
    """How many answers and plans of before there are."""
    return _count(connection, items, or_(*(store_units.below(prefix) for prefix in CACHES)))


def delete_origins(connection: Connection, names: Iterable[bytes]) -> None:
    """Forget whose the traces were."""
    for chunk in consent_units.chunks(list(names)):
        connection.execute(delete(origins).where(origins.c.origin.in_(chunk)))


def _count(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    found: Any = connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
    return int(found)
