"""The part of a run that the running code belongs to, and who is told of it.

It travels as a context variable, as LangGraph copies the context into its tasks and threads. An attempt spans
several steps, each with a context of its own, so it hangs on the scope of its subtask.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from langgraph.errors import GraphBubbleUp

from stellwerk.observer import AttemptPart, Observer, Part, Place, RunPart, SubtaskPart

_log = logging.getLogger(__name__)
_current: ContextVar[Scope | None] = ContextVar("stellwerk_scope", default=None)

P = TypeVar("P", bound=Part)
Entered = tuple[Token["Scope | None"], list[AbstractContextManager[object]]]


class Scope:
    """A part that has begun."""

    __slots__ = ("_began", "_is_over", "_marks", "_observers", "attempt", "part", "place")

    def __init__(self, part: Part, observers: Sequence[Observer], around: Scope | None) -> None:
        self.part = part
        self.place = _place(part, around)
        self.attempt: Scope | None = None
        self._observers = observers
        self._is_over = False
        self._began = perf_counter()
        self._marks: list[Any] = []
        for number, observer in enumerate(observers):
            mark = None
            try:
                outer = around._marks[number] if around is not None else None
                mark = observer.begin(part, self.place, outer)
            except Exception:  # whatever an observer does, the run goes on
                _grumble(observer)
            self._marks.append(mark)

    @property
    def is_watched(self) -> bool:
        """Whether anybody is told."""
        return bool(self._observers)

    def begin(self, part: Part) -> Scope:
        """A part inside of this one, or of the attempt that is on its way."""
        return Scope(part, self._observers, self.attempt or self)

    def begin_attempt(self, part: AttemptPart) -> None:
        """An attempt at the subtask that this scope is of."""
        if self.attempt is not None:
            self.attempt.end()
        self.attempt = Scope(part, self._observers, self)

    def end(self, error: BaseException | None = None) -> None:
        """It has ended, with an attempt that is still on its way; ending it again does nothing."""
        if self._is_over:
            return
        self._is_over = True
        if self.attempt is not None:
            self.attempt.end(error)
        part = self.part
        part.seconds = perf_counter() - self._began
        if error is not None:
            part.outcome = "interrupted" if is_interruption(error) else "failed"
            if part.outcome == "failed":
                part.error = part.error or type(error).__name__
                part.detail = part.detail or str(error)
        for observer, mark in zip(self._observers, self._marks, strict=True):
            try:
                observer.end(part, self.place, mark)
            except Exception:  # whatever an observer does, the run goes on
                _grumble(observer)

    def enter(self) -> Entered:
        """What runs from here on in this context belongs to it."""
        inside: list[AbstractContextManager[object]] = []
        for observer, mark in zip(self._observers, self._marks, strict=True):
            try:
                during = observer.during(mark)
                during.__enter__()
                inside.append(during)
            except Exception:  # whatever an observer does, the run goes on
                _grumble(observer)
        return _current.set(self), inside

    def leave(self, entered: Entered) -> None:
        """No longer."""
        token, inside = entered
        for during in reversed(inside):
            try:
                during.__exit__(None, None, None)
            except Exception:  # as above
                _log.warning("an observer failed", exc_info=True)
        with suppress(
            ValueError
        ):  # left in another context, where a coroutine that broke off is cleared away
            _current.reset(token)


class within(Generic[P]):  # noqa: N801  # a context manager, as `nullcontext`
    """Begins a part of what the running code belongs to, and ends it; nothing where that is no run."""

    __slots__ = ("_entered", "_scope", "part")

    def __init__(self, part: P) -> None:
        self.part = part

    def __enter__(self) -> Self:
        around = _current.get()
        self._scope = around.begin(self.part) if around is not None else None
        if self._scope is not None:
            self._entered = self._scope.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is not None:
            self._scope.leave(self._entered)
            self._scope.end(error)


def current() -> Scope | None:
    """The scope of the running code; None outside of runs."""
    return _current.get()


def place() -> Place | None:
    """Where the running code stands, the attempt that is on its way included; None outside of runs."""
    scope = _current.get()
    if scope is None:
        return None
    return scope.attempt.place if scope.attempt is not None else scope.place


def is_interruption(error: BaseException) -> bool:
    """Whether what was raised is no failure: a person is asked, or somebody broke the run off."""
    return not isinstance(error, Exception) or isinstance(error, GraphBubbleUp | CancelledError)


def _place(part: Part, around: Scope | None) -> Place:
    if isinstance(part, RunPart):
        return Place(run=part)
    outer = around.place if around is not None else Place()
    if isinstance(part, SubtaskPart):
        return Place(run=outer.run, subtask=part)
    if isinstance(part, AttemptPart):
        return Place(run=outer.run, subtask=outer.subtask, attempt=part)
    return outer


def _grumble(observer: Observer) -> None:
    _log.warning("the observer %s failed", type(observer).__name__, exc_info=True)
