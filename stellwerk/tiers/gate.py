"""The way into a tier: a concurrency limit, a rate limit, and a queue that is fair to every run.

Nothing here waits. Who enters gets a ticket, whose future is done once the place is granted; threads and
event loops wait for it in their own ways (`dispatch.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from stellwerk.tiers.rate import Rate, Spent

_LOOK = 1.0  # seconds; where time lets someone in, those who wait look for themselves


@dataclass(slots=True, eq=False)
class Ticket:
    """A place, or the hope of one. `tokens` is what the call is expected to take."""

    flow: str
    tokens: int
    state: Literal["waiting", "granted", "gone"] = "waiting"
    future: Future[None] = field(default_factory=Future)
    spent: Spent | None = None


class Gate:
    """At most `limit` holders at a time, None for no limit, and no more of them a minute than `rate` allows.

    Flows (runs) take turns; inside a flow, who came first goes first. So a run waits for one call of each
    other run at most, however many calls they have waiting.
    """

    def __init__(self, limit: int | None = None, rate: Rate | None = None) -> None:
        self.limit = limit
        self.rate = rate or Rate()
        self.granted_at = float("-inf")
        """When the latest place was granted; a queue that moves is no outage, however long it is."""
        self._held = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._flows: OrderedDict[str, deque[Ticket]] = OrderedDict()

    @property
    def held(self) -> int:
        """Places that are taken."""
        return self._held

    @property
    def waiting(self) -> int:
        """Tickets that wait for a place."""
        return self._waiting

    def enter(self, flow: str, tokens: int, now: float) -> Ticket:
        """A ticket, granted at once where there is a place and nobody waits for it."""
        ticket = Ticket(flow, tokens)
        with self._lock:
            self._flows.setdefault(flow, deque()).append(ticket)
            self._waiting += 1
            self._grant(now)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """Give the place back, or the hope of one.

        A ticket that is granted while its owner gives up hands its place on: asked under the lock, it is
        one or the other, and no place is ever lost.
        """
        with self._lock:
            if ticket.state == "granted":
                self._held -= 1
            elif ticket.state == "waiting":
                ticket.future.cancel()
                self._take_out(ticket)
            ticket.state = "gone"
            self._grant(now)  # also if none was held: the next one may take fewer tokens

    def pump(self, now: float) -> None:
        """Grant what time alone has made possible."""
        with self._lock:
            self._grant(now)

    def wake(self, now: float) -> float | None:
        """Seconds after which to `pump`; None where only a place that is given back lets anyone in."""
        if self.rate.unlimited:
            return None
        with self._lock:
            delay = 0.0
            if self._flows and self._has_place():
                delay = self.rate.delay(next(iter(self._flows.values()))[0].tokens, now)
            return min(delay or _LOOK, _LOOK)

    def again(self, ticket: Ticket, now: float) -> float:
        """Count another request of a holder, or say after how many seconds it may be made."""
        with self._lock:
            if wait := self.rate.delay(ticket.tokens, now):
                return wait
            ticket.spent = self.rate.take(ticket.tokens, now)
            return 0.0

    def correct(self, ticket: Ticket, tokens: int, now: float) -> None:
        """Put in what a call really took, in tokens."""
        if ticket.spent is not None:
            with self._lock:
                self.rate.correct(ticket.spent, tokens)
                self._grant(now)

    def _has_place(self) -> bool:
        return self.limit is None or self._held < self.limit

    def _grant(self, now: float) -> None:
        while self._flows and self._has_place():
            ticket = next(iter(self._flows.values()))[0]
            if self.rate.delay(ticket.tokens, now):
                return
            self._take_out(ticket)
            if not ticket.future.set_running_or_notify_cancel():
                ticket.state = "gone"
                continue
            if ticket.flow in self._flows:
                self._flows.move_to_end(ticket.flow)
            self._held += 1
            self.granted_at = now
            ticket.state = "granted"
            ticket.spent = self.rate.take(ticket.tokens, now)
            ticket.future.set_result(None)

    def _take_out(self, ticket: Ticket) -> None:
        self._waiting -= 1
        queue = self._flows[ticket.flow]
        queue.remove(ticket)
        if not queue:
            del self._flows[ticket.flow]
