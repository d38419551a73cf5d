"""What a call has to wait for and whom it has to ask, done in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from langchain_core.messages import AIMessage

from stellwerk.tiers.replica import Replica


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a future, at most so many seconds; None is never done."""

    future: Future[None] | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Try:
    """Ask a replica, which is answered with its message. `timeout` is in seconds, None for none."""

    replica: Replica
    timeout: float | None


Outcome = TypeVar("Outcome")
Way = Generator[Wait | Try, AIMessage | None, Outcome]


def go(way: Way[Outcome], ask: Callable[[Replica, float | None], AIMessage]) -> Outcome:
    """Go the way of a call in this thread."""
    try:
        step = next(way)
        while True:
            message = None
            try:
                match step:
                    case Try():
                        message = ask(step.replica, step.timeout)
                    case Wait(None, seconds):
                        time.sleep(seconds)
                    case Wait(future, seconds):
                        assert future is not None
                        with suppress(FutureTimeoutError):
                            future.result(seconds)
            except BaseException as error:  # Ctrl-C too: the place has to be given back
                step = way.throw(error)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome


async def ago(way: Way[Outcome], ask: Callable[[Replica, float | None], Awaitable[AIMessage]]) -> Outcome:
    """Go the way of a call in this event loop; as `go`."""
    try:
        step = next(way)
        while True:
            message = None
            try:
                match step:
                    case Try():
                        # A client's own timeout starts anew with each byte; this one does not.
                        async with asyncio.timeout(step.timeout):
                            message = await ask(step.replica, step.timeout)
                    case Wait(None, seconds):
                        await asyncio.sleep(seconds)
                    case Wait(future, seconds):
                        assert future is not None
                        # Not `wait_for`: it cancels what it waits for, and a place may be granted just then.
                        await asyncio.wait({asyncio.wrap_future(future)}, timeout=seconds)
            except BaseException as error:
                step = way.throw(error)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
