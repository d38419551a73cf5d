"""A circuit breaker: a server that fails is left alone for a while, then tried with one call."""

from __future__ import annotations

from collections import deque
from typing import Literal

State = Literal["closed", "open", "half-open"]

_WINDOW = 20  # outcomes that the failure rate is taken over
_LEAST = 10  # outcomes before a rate means anything
_RATE = 0.5
_IN_A_ROW = 5  # failures in a row; one that cost a whole timeout counts twice
_COOL_DOWN = 1.0  # seconds; doubles each time
_LONGEST = 60.0  # seconds
_FORGET = 10.0  # seconds of being closed after which the cool-down starts over


class Breaker:
    """Closed: calls pass. Open: none does, until the cool-down is over. Half-open: one does, as a probe.

    Opens at five failures in a row, or at half of the last twenty calls. Outcomes are counted and not timed:
    with one call at a time and a timeout of two minutes, a window of a minute never sees a second failure.
    What failed while others that began later were answered is not in a row with anything: the server lives.
    Not safe for threads by itself; its pool has the lock.
    """

    def __init__(self) -> None:
        self._outcomes: deque[bool] = deque(maxlen=_WINDOW)
        self._row = 0
        self._openings = 0
        self._opened_at = 0.0
        self._closed_at = 0.0
        self._proof = float("-inf")  # when the latest call began that was answered
        self._open = False
        self._probing = False
        self.epoch = 0
        """Grows at each opening and closing; what came of a call that began in another one says nothing."""

    def state(self, now: float) -> State:
        """Where it stands."""
        if not self._open:
            return "closed"
        return "open" if now < self.until else "half-open"

    @property
    def until(self) -> float:
        """When the cool-down is over."""
        return self._opened_at + min(_COOL_DOWN * 2.0 ** min(self._openings - 1, 10), _LONGEST)

    def admits(self, now: float) -> bool:
        """Whether a call may pass now."""
        return not self._open or (now >= self.until and not self._probing)

    @property
    def probing(self) -> bool:
        """Whether a probe is on its way."""
        return self._probing

    def begin(self, now: float) -> int:
        """A call passes; the epoch to tell its outcome with."""
        if self._open:
            self._probing = True
        return self.epoch

    def succeed(self, epoch: int, began: float, now: float) -> None:
        """A call that began then was answered."""
        self._proof = max(self._proof, began)
        if epoch != self.epoch:
            return
        if self._open:
            self._open = self._probing = False
            self._closed_at = now
            self._clear()
        else:
            self._row = 0
            self._outcomes.append(True)
            if self._openings and now - self._closed_at >= _FORGET:
                self._openings = 0

    def fail(self, epoch: int, began: float, now: float, weight: int = 1) -> None:
        """A call that began then failed; `weight` is how much it counts."""
        if epoch != self.epoch:
            return
        if self._open:
            self._trip(now)
            return
        if self._proof <= began:
            self._row += weight
        self._outcomes.append(False)
        rate = self._outcomes.count(False) / len(self._outcomes)
        if self._row >= _IN_A_ROW or (len(self._outcomes) >= _LEAST and rate >= _RATE):
            if self._openings and now - self._closed_at >= _FORGET:
                self._openings = 0
            self._trip(now)

    def abandon(self, epoch: int) -> None:
        """A call ended without saying anything about the server; a probe is given up to the next call."""
        if epoch == self.epoch:
            self._probing = False

    def _trip(self, now: float) -> None:
        self._open, self._probing = True, False
        self._opened_at = now
        self._openings += 1
        self._clear()

    def _clear(self) -> None:
        self.epoch += 1
        self._row = 0
        self._outcomes.clear()
