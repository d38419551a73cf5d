"""Renewals of leases that are asked for at the same time share a transaction.

A process that runs many threads would otherwise write one for each of them every few seconds, and hold up
their checkpoints with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

from stellwerk.persistence import run_units as units
from stellwerk.persistence.database import AsyncDatabase
from stellwerk.persistence.lease import Lease

_TOGETHER = 64  # so that checkpoints do not wait for hundreds
_Asked: TypeAlias = tuple[Lease, "asyncio.Future[Lease]"]


class Renewals:
    """Those of one database, for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: list[_Asked] = []
        self._work: asyncio.Task[None] | None = None

    async def renew(self, database: AsyncDatabase, lease: Lease) -> Lease:
        """The lease, renewed alone or with others.

        Raises:
            LeaseError: if it has expired or was taken over; those it was renewed with are none the worse.
            DatabaseError: if the database fails.
        """
        done: asyncio.Future[Lease] = self.loop.create_future()
        self._waiting.append((lease, done))
        if self._work is None:
            self._work = self.loop.create_task(self._renew_all(database))
        return await done

    async def _renew_all(self, database: AsyncDatabase) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                await _answered(database, [asked for asked in group if not asked[1].done()])
        finally:
            self._work = None


def renewals_of(database: AsyncDatabase) -> Renewals:
    """Those of a database, in the event loop that runs."""
    loop, found = asyncio.get_running_loop(), _known.get(database)
    if found is None or found.loop is not loop:
        found = _known[database] = Renewals(loop)
    return found


_known: WeakKeyDictionary[AsyncDatabase, Renewals] = WeakKeyDictionary()


async def _answered(database: AsyncDatabase, group: list[_Asked]) -> None:
    leases = [lease for lease, _ in group]
    found: Sequence[Lease | Exception]
    try:
        found = await database.write(lambda c: units.renew_all(c, leases)) if leases else []
    except Exception as error:
        found = [error] * len(group)
    for (_, done), each in zip(group, found, strict=True):
        if done.done():  # whoever waited has given up
            continue
        if isinstance(each, Lease):
            done.set_result(each)
        else:
            done.set_exception(each)
