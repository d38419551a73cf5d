"""Runs, and the leases that keep two processes from advancing one thread: `RunStore`, `AsyncRunStore`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from importlib.metadata import version
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from stellwerk.errors import DatabaseError, InputError, StellwerkError
from stellwerk.persistence import run_units as units
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.heartbeat import Hold
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.renewals import renewals_of
from stellwerk.persistence.run_units import STATUSES, Claim, Run, Status

Url = str | URL | os.PathLike[str]
TTL = 60.0  # seconds
_TASK = 500  # characters
_ERROR = 2_000  # characters
_LONGEST = 366 * 24 * 3600  # seconds; a lease of more would never end


class RunStore:
    """The runs of a database, and the leases of its threads. To share a pool, give it a saver's `database`.

    A lease counts by the database's own clock; on SQLite that is the clock of the machine. One that has
    expired is never renewed: whoever was away that long has to claim the thread again.

    Example:
        ```python
        with SQLAlchemySaver.from_url("runs.sqlite") as saver:
            graph = builder.compile(checkpointer=saver)
            with RunStore(saver.database).running("thread-1", task="Sum up") as hold:
                graph.invoke({"task": "Sum up"}, hold.config)
        ```
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url))

    @classmethod
    def from_engine(cls, engine: Engine) -> Self:
        """On an engine of yours, which is never disposed of."""
        return cls(Database.from_engine(engine))

    def setup(self) -> None:
        """Create or migrate the tables; the first call of any method does so by itself."""
        self.database.setup()

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, thread_id: str, *, task: str, ttl: float = TTL) -> Lease:
        """Take a thread for a new run; of several who try at once, one gets it.

        Args:
            thread_id: the thread.
            task: what the run is to do; its first 500 characters are kept.
            ttl: seconds until the lease ends, unless it is renewed.

        Raises:
            LeaseError: naming who holds the thread, since when, and until when.
        """
        return self.database.write(_claiming(thread_id, task, ttl))

    def renew(self, lease: Lease) -> Lease:
        """The lease with `ttl` seconds from now, and whether somebody asked for the run to be cancelled.

        Raises:
            LeaseError: if it has expired or was taken over.
        """
        return self.database.write(lambda c: units.renew(c, lease))

    def release(
        self,
        lease: Lease,
        *,
        status: Status = "done",
        error: str | None = None,
        totals: Mapping[str, Any] | None = None,
    ) -> None:
        """End the run and free its thread.

        Args:
            lease: as claimed; expired or not.
            status: how the run ended.
            error: what went wrong; the first 2,000 characters are kept.
            totals: what the run cost, as JSON can say it.

        Raises:
            LeaseError: if the thread was taken over; the run then counts as interrupted.
        """
        self.database.write(_releasing(lease, status, error, totals))

    def request_cancel(self, run_id: str) -> Run | None:
        """Ask a run to end; its holder notices with the next heartbeat.

        Returns:
            The run as it was found; only one with status `running` was asked. None if there is no such run.
        """
        return self.database.write(lambda c: units.request_cancel(c, run_id))

    def get(self, run_id: str) -> Run | None:
        """A run by its id."""
        return self.database.read(lambda c: units.get(c, run_id))

    def find(self, name: str) -> Run | None:
        """The run of this id, else the newest of the thread of this name, else the one whose id begins so.

        Raises:
            InputError: if the ids of several runs begin so.
        """
        return self.database.read(_finding(name))

    def list(
        self,
        *,
        thread_id: str | None = None,
        status: Status | Collection[Status] | None = None,
        limit: int | None = 100,
    ) -> list[Run]:
        """Runs, newest first.

        Args:
            thread_id: only those of this thread.
            status: only those of this status, or of one of several.
            limit: how many at most; None for all.

        Raises:
            InputError: if there is no such status, or the limit is negative.
        """
        return self.database.read(_listing(thread_id, status, limit))

    @contextmanager
    def running(
        self, thread_id: str, *, task: str, ttl: float = TTL, interval: float | None = None
    ) -> Iterator[Hold]:
        """Hold a thread for a run: claim it, renew the lease in a thread of its own, release it.

        Exceptions that leave the block are recorded with the run. Nothing breaks into the block when the
        lease is lost: its writes fail with `LeaseError`, and `check` tells a loop.

        Args:
            thread_id: the thread.
            task: what the run is to do.
            ttl: seconds for which a renewal is good.
            interval: seconds between renewals, and until a request to cancel is noticed; `ttl / 3` if None.

        Raises:
            LeaseError: if another holds the thread, or took it over before the block ended.
        """
        asked_at = time.monotonic()
        hold = Hold(self.claim(thread_id, task=task, ttl=ttl), interval=interval, asked_at=asked_at)
        ended = threading.Event()
        beat = threading.Thread(
            target=self._beat, args=(hold, ended), name=f"stellwerk-lease-{thread_id}", daemon=True
        )
        beat.start()
        try:
            yield hold
        except BaseException as error:
            hold.ended_with(error)
            ended.set()
            beat.join(hold.left)
            with suppress(DatabaseError):  # it would hide the error that matters
                self._release(hold)
            raise
        ended.set()
        beat.join(hold.left)
        self._release(hold)

    def _beat(self, hold: Hold, ended: threading.Event) -> None:
        while not hold.lost and not ended.wait(hold.pause):
            asked_at = time.monotonic()
            # A renewal may hang, or be tried again for longer than the lease is good.
            late = threading.Timer(hold.left, hold.expire)
            late.daemon = True
            late.start()
            try:
                hold.renewed(self.renew(hold.lease), asked_at)
            except Exception as error:
                hold.not_renewed(error)
            finally:
                late.cancel()
            if hold.reason is not None and not isinstance(hold.reason, StellwerkError):
                return

    def _release(self, hold: Hold) -> None:
        try:
            self.release(hold.lease, status=hold.status, error=hold.error, totals=hold.totals)
        except InputError as problem:  # the thread must not stay held for that
            self.release(hold.lease, status="failed", error=str(problem))
            raise


class AsyncRunStore:
    """As `RunStore`, for async code: the same methods. It belongs to the event loop that first uses it."""

    def __init__(self, database: AsyncDatabase) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """As `RunStore.from_url`."""
        return cls(AsyncDatabase.from_url(url))

    @classmethod
    def from_engine(cls, engine: AsyncEngine) -> Self:
        """As `RunStore.from_engine`."""
        return cls(AsyncDatabase.from_engine(engine))

    async def setup(self) -> None:
        """As `RunStore.setup`."""
        await self.database.setup()

    async def close(self) -> None:
        """As `RunStore.close`."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def claim(self, thread_id: str, *, task: str, ttl: float = TTL) -> Lease:
        """As `RunStore.claim`."""
        return await self.database.write(_claiming(thread_id, task, ttl))

    async def renew(self, lease: Lease) -> Lease:
        """As `RunStore.renew`."""
        return await renewals_of(self.database).renew(self.database, lease)

    async def release(
        self,
        lease: Lease,
        *,
        status: Status = "done",
        error: str | None = None,
        totals: Mapping[str, Any] | None = None,
    ) -> None:
        """As `RunStore.release`."""
        await self.database.write(_releasing(lease, status, error, totals))

    async def request_cancel(self, run_id: str) -> Run | None:
        """As `RunStore.request_cancel`."""
        return await self.database.write(lambda c: units.request_cancel(c, run_id))

    async def get(self, run_id: str) -> Run | None:
        """As `RunStore.get`."""
        return await self.database.read(lambda c: units.get(c, run_id))

    async def find(self, name: str) -> Run | None:
        """As `RunStore.find`."""
        return await self.database.read(_finding(name))

    async def list(
        self,
        *,
        thread_id: str | None = None,
        status: Status | Collection[Status] | None = None,
        limit: int | None = 100,
    ) -> list[Run]:
        """As `RunStore.list`."""
        return await self.database.read(_listing(thread_id, status, limit))

    @asynccontextmanager
    async def running(
        self, thread_id: str, *, task: str, ttl: float = TTL, interval: float | None = None
    ) -> AsyncIterator[Hold]:
        """As `RunStore.running`, and the block is broken into when it has to end.

        Its task is cancelled, and leaves the block with the error that says why. Code that blocks the event
        loop for longer than `ttl` loses the lease.

        Raises:
            LeaseError: if another holds the thread, or the lease is lost.
            RunCancelledError: if somebody asked for the run to be cancelled.
        """
        body = asyncio.current_task()
        assert body is not None
        asked_at, cancelling = time.monotonic(), body.cancelling()
        lease = await self._claim_or_undo(thread_id, task, ttl)
        hold, ended = Hold(lease, interval=interval, asked_at=asked_at), asyncio.Event()
        beat = asyncio.create_task(self._beat(hold, ended, body), name=f"stellwerk-lease-{thread_id}")
        problem: BaseException | None = None
        try:
            yield hold
        except BaseException as error:
            problem = error
        if hold.reason is not None:
            only_ours = body.uncancel() <= cancelling
            if only_ours and isinstance(problem, asyncio.CancelledError):
                problem = hold.reason
            elif only_ours:
                with suppress(asyncio.CancelledError):  # which the block did not live to see
                    await asyncio.sleep(0)
        if problem is not None:
            hold.ended_with(problem)
        ending = asyncio.ensure_future(self._end(hold, beat, ended, quietly=problem is not None))
        await asyncio.shield(ending)  # a second cancellation must not leave the thread held
        if problem is not None:
            raise problem

    async def _claim_or_undo(self, thread_id: str, task: str, ttl: float) -> Lease:
        claiming = asyncio.ensure_future(self.claim(thread_id, task=task, ttl=ttl))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # It goes on by itself, and the thread would stay held for nobody.
            with suppress(DatabaseError):
                await self.release(await claiming, status="interrupted")
            raise

    async def _beat(self, hold: Hold, ended: asyncio.Event, body: asyncio.Task[Any]) -> None:
        while not hold.lost:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), hold.pause)
            if ended.is_set():
                return
            told, asked_at = hold.reason, time.monotonic()
            try:
                hold.renewed(await asyncio.wait_for(self.renew(hold.lease), hold.left), asked_at)
            except TimeoutError:
                hold.expire()
            except Exception as error:
                hold.not_renewed(error)
            if told is None and hold.reason is not None and not ended.is_set():
                body.cancel()

    async def _end(
        self, hold: Hold, beat: asyncio.Task[None], ended: asyncio.Event, *, quietly: bool
    ) -> None:
        ended.set()  # not cancelled: a renewal under way would cost the pool its connection
        await beat
        try:
            try:
                await self.release(hold.lease, status=hold.status, error=hold.error, totals=hold.totals)
            except InputError as problem:  # the thread must not stay held for that
                await self.release(hold.lease, status="failed", error=str(problem))
                raise
        except DatabaseError:
            if not quietly:  # it would hide the error that matters
                raise


def holder() -> str:
    """This process, as leases name it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@cache
def _version() -> str:
    return version("stellwerk")  # read from files, which takes as long as a claim


def _claiming(thread_id: str, task: str, ttl: float) -> Callable[[Connection], Lease]:
    if not isinstance(ttl, int | float) or not 0 < ttl <= _LONGEST:  # which NaN is not, either
        raise InputError(
            f"ttl is {ttl!r}; give the seconds for which a lease is good, above 0 and at most {_LONGEST}"
        )
    if not isinstance(task, str):
        raise InputError(f"task is {task!r}; give a text that says what the run is to do")
    wanted = Claim(
        thread_id=str(thread_id),
        run_id=str(uuid4()),
        task=task[:_TASK],
        holder=holder(),
        version=_version(),
        ttl=ttl,
    )
    return lambda c: units.claim(c, wanted)


def _releasing(
    lease: Lease, status: Status, error: str | None, totals: Mapping[str, Any] | None
) -> Callable[[Connection], None]:
    if status == "running" or status not in STATUSES:
        raise InputError(f"a run cannot end as {status!r}; use {', '.join(STATUSES[1:])}")
    said = None if error is None else error[:_ERROR]
    try:
        written = None if totals is None else json.dumps(totals, default=str)
    except (TypeError, ValueError) as problem:
        raise InputError(f"the totals of run {lease.run_id} are no JSON: {problem}") from problem
    return lambda c: units.release(c, lease, status=status, error=said, totals=written)


def _finding(name: str) -> Callable[[Connection], Run | None]:
    def find(connection: Connection) -> Run | None:
        if found := units.get(connection, name) or units.latest(connection, name):
            return found
        if len(name) < 4 or not name.isascii():
            return None
        several = units.beginning(connection, name)
        if len(several) > 1:
            raise InputError(f"the ids of several runs begin with {name!r}; give more of it")
        return several[0] if several else None

    return find


def _listing(
    thread_id: str | None, status: Status | Collection[Status] | None, limit: int | None
) -> Callable[[Connection], list[Run]]:
    statuses = [status] if isinstance(status, str) else status
    for name in statuses or ():
        if name not in STATUSES:
            raise InputError(f"there is no status {name!r} of runs; use {', '.join(STATUSES)}")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InputError(f"limit is {limit!r}; give a whole number from 0, or None for all")
    chosen = None if statuses is None else list(statuses)
    return lambda c: units.listing(c, thread_id=thread_id, statuses=chosen, limit=limit)
