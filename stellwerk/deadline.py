"""The deadline of a call of a tool: when it has to end, and whose time is over then.

It is at hand in the code of the call, in the threads that LangChain makes for it too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Whose = Literal["run", "subtask", "attempt", "tool"]

OVER: dict[Whose, str] = {
    "run": "the run's time is over",
    "subtask": "the subtask's time is over",
    "attempt": "the attempt's run_timeout is over",
    "tool": "the tool's time is over",
}
"""Whose time is over, in words."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment, as `time.monotonic()`, and whose time ends then."""

    at: float
    of: Whose

    @classmethod
    def after(cls, seconds: float, of: Whose) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds, of)

    @property
    def left(self) -> float:
        """Seconds until then, or 0."""
        return max(self.at - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether that was."""
        return time.monotonic() >= self.at


class TimeOverError(Exception):
    """The time was over before a call began; `meanwhile` says what it had waited for, if for anything."""

    def __init__(self, deadline: Deadline, meanwhile: str = "") -> None:
        super().__init__(f"{OVER[deadline.of]} {meanwhile}".strip())
        self.deadline = deadline


_now: ContextVar[Deadline | None] = ContextVar("stellwerk_deadline", default=None)


def current_deadline() -> Deadline | None:
    """That of the call of a tool in which this code runs."""
    return _now.get()


def earlier(*deadlines: Deadline | None) -> Deadline | None:
    """The earliest of some; None is none."""
    return min((each for each in deadlines if each is not None), key=lambda each: each.at, default=None)


@contextmanager
def until(deadline: Deadline | None) -> Iterator[None]:
    """What is begun inside has this deadline, or that at hand if it is earlier.

    Raises:
        TimeOverError: if it was.
    """
    deadline = earlier(deadline, _now.get())
    if deadline is not None and deadline.is_over:
        raise TimeOverError(deadline)
    token = _now.set(deadline)
    try:
        yield
    finally:
        _now.reset(token)
