"""A concurrency limit that threads and event loops share, first come first served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager


class Throttle:
    """At most `limit` holders at a time; None means no limit."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._free = limit or 0
        self._lock = threading.Lock()
        self._waiting: deque[Future[None]] = deque()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a place and hold it."""
        ticket = self._enter()
        if ticket is not None:
            try:
                ticket.result()
            except BaseException:  # Ctrl-C
                self._give_up(ticket)
                raise
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def ahold(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        ticket = self._enter()
        if ticket is not None:
            try:
                await asyncio.wrap_future(ticket)
            except BaseException:
                self._give_up(ticket)
                raise
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> Future[None] | None:
        if self.limit is None:
            return None
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            ticket: Future[None] = Future()
            self._waiting.append(ticket)
            return ticket

    def _give_up(self, ticket: Future[None]) -> None:
        # What cannot be cancelled any more has been granted: hand the place on, or it is lost for good.
        if not ticket.cancel():
            self._leave()

    def _leave(self) -> None:
        if self.limit is None:
            return
        with self._lock:
            while self._waiting:
                ticket = self._waiting.popleft()
                if ticket.set_running_or_notify_cancel():
                    ticket.set_result(None)
                    return
            self._free += 1
