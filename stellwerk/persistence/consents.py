"""Whether the traces of threads may be kept, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, and_, func, select
from sqlalchemy.sql import ColumnElement

from stellwerk.errors import InputError
from stellwerk.persistence import consent_units as units
from stellwerk.persistence import trace_units
from stellwerk.persistence.consent_units import Consent
from stellwerk.persistence.database import Database
from stellwerk.persistence.origins import ConsentState, OriginKeys
from stellwerk.persistence.schema.conversion import examples
from stellwerk.persistence.schema.traces import attempts, runs

_PAGE = 500  # rows deleted at once


class Consents:
    """The consents of a trace store: `traces.consents`.

    A thread that is `denied` leaves no more traces; those that are there are deleted by `retain`. What is
    known is stored under a keyed hash of the thread, where there is a key. The methods have async ones, with
    an `a` in front.

    Example:
        ```python
        with TraceStore.from_url("app.sqlite", unknown_consent="denied") as traces:
            traces.consents.set("thread-17", "granted", keep_days=90, who="the person, in the app")
        ```
    """

    def __init__(self, database: Callable[[], Database], keys: OriginKeys) -> None:
        self._database = database
        self._keys = keys

    def set(
        self, thread_id: str, state: ConsentState, *, keep_days: int | None = None, who: str | None = None
    ) -> None:
        """Store what is known of a thread, in place of what was known.

        Args:
            thread_id: of the thread.
            state: `granted`, `denied`, or `unknown`.
            keep_days: after so many days its traces are deleted; None where the general rule counts.
            who: says so.

        Raises:
            InputError: if there is no such state, or the days are negative.
            DatabaseError: if the database fails.
        """
        if state not in ("granted", "denied", "unknown"):
            raise InputError(f"the consent is {state!r}; give granted, denied or unknown")
        if keep_days is not None and not 0 <= keep_days <= 36_500:
            raise InputError(f"keep_days is {keep_days}; give days from 0 to 36,500, or None")
        if not thread_id:
            raise InputError("the thread's id is empty, and a consent is for one thread; name it")
        threads = self._keys.threads(thread_id)
        self._database().write(lambda c: units.put(c, threads, state=state, keep_days=keep_days, who=who))

    def get(self, thread_id: str) -> Consent | None:
        """What is known of a thread; None if nothing.

        Raises:
            DatabaseError: if the database fails.
        """
        threads = self._keys.threads(thread_id)
        return self._database().read(lambda c: units.get(c, threads)) if threads else None

    def count(self) -> dict[str, int]:
        """How many threads have each state; one counts once for each key that it is known under.

        Raises:
            DatabaseError: if the database fails.
        """
        return self._database().read(units.count)

    def retain(self, keep_days: int | None = None) -> Iterator[int]:
        """Delete what is past its date, and tell how many rows after each step.

        These are attempts, runs and examples of datasets: of threads that are denied, of those that have a
        number of days of their own, and of all others after `keep_days`.

        Args:
            keep_days: the general rule; None to keep for ever.

        Raises:
            InputError: if the days are negative.
            DatabaseError: if the database fails; what was deleted until then stays so.
        """
        return self._retain(_checked(keep_days))

    async def aset(
        self, thread_id: str, state: ConsentState, *, keep_days: int | None = None, who: str | None = None
    ) -> None:
        """As `set`."""
        await asyncio.to_thread(self.set, thread_id, state, keep_days=keep_days, who=who)

    async def aget(self, thread_id: str) -> Consent | None:
        """As `get`."""
        return await asyncio.to_thread(self.get, thread_id)

    async def acount(self) -> dict[str, int]:
        """As `count`."""
        return await asyncio.to_thread(self.count)

    async def aretain(self, keep_days: int | None = None) -> int:
        """As `retain`; how many rows in all."""
        return await asyncio.to_thread(lambda: sum(self.retain(keep_days)))

    def overdue(self, keep_days: int | None = None) -> int:
        """How many rows `retain` would delete.

        Raises:
            InputError: as `retain`.
            DatabaseError: if the database fails.
        """
        return sum(
            self._database().read(lambda c, rule=rule: _count(c, *rule))  # type: ignore[misc]
            for rule in self._rules(datetime.now(UTC), _checked(keep_days))
        )

    async def aoverdue(self, keep_days: int | None = None) -> int:
        """As `overdue`."""
        return await asyncio.to_thread(self.overdue, keep_days)

    def _retain(self, keep_days: int | None) -> Iterator[int]:
        database = self._database()
        for rule in self._rules(datetime.now(UTC), keep_days):
            while gone := database.write(lambda c, rule=rule: _delete(c, *rule)):  # type: ignore[misc]
                yield gone

    def _rules(self, now: datetime, keep_days: int | None) -> Iterator[tuple[datetime, bytes | None]]:
        """Before which moment nothing may be kept: of a thread, or of all that have no rule of their own."""
        after = b""
        while rules := self._database().read(lambda c, after=after: units.ruled(c, after, _PAGE)):  # type: ignore[misc]
            yield from ((units.overdue(rule, now), bytes(rule.thread)) for rule in rules)
            after = bytes(rules[-1].thread)
        if keep_days is not None:
            yield now - timedelta(days=keep_days), None


def _checked(keep_days: int | None) -> int | None:
    if keep_days is not None and keep_days < 0:
        raise InputError(f"keep_days is {keep_days}; give days from 0, or None")
    return keep_days


_KEPT = ((attempts, "created_at"), (runs, "updated_at"), (examples, "created_at"))


def _old(
    connection: Connection, table: Table, moment: str, before: datetime, thread: bytes | None
) -> ColumnElement[bool]:
    its = units.unruled(table) if thread is None else units.of_thread(connection, table, thread)
    return and_(table.c[moment] < before, its)


def _count(connection: Connection, before: datetime, thread: bytes | None) -> int:
    found = 0
    for table, moment in _KEPT:
        query = select(func.count()).select_from(table)
        found += connection.execute(query.where(_old(connection, table, moment, before, thread))).scalar_one()
    return found


def _delete(connection: Connection, before: datetime, thread: bytes | None) -> int:
    """Delete some of what is older, of one thread, or of all for which no days are set."""
    gone = 0
    for (table, moment), remove in zip(
        _KEPT, (trace_units.delete_attempts, trace_units.delete_runs), strict=False
    ):
        key = next(iter(table.primary_key))
        query = select(key).where(_old(connection, table, moment, before, thread)).limit(_PAGE)
        gone += remove(connection, [bytes(found) for found in connection.execute(query).scalars()])
    old = _old(connection, examples, "created_at", before, thread)
    return gone + units.delete_examples(connection, old, _PAGE)
