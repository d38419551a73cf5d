"""What a call has to wait for and whom it has to ask, done in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from contextvars import copy_context
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


_LATE = 0.1  # seconds

Answer = TypeVar("Answer")
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
                    case Wait():
                        wait_for(step)
            except BaseException as error:  # Ctrl-C too: the place has to be given back
                step = way.throw(error)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome


def given_up_after(seconds: float, ask: Callable[[], AIMessage]) -> AIMessage:
    """The answer of a model that takes no timeout; after so many seconds it works on, and nobody listens.

    Raises:
        TimeoutError: if there is none in time.
    """
    answer: Future[AIMessage] = Future()
    context = copy_context()

    def work() -> None:
        try:
            message = context.run(ask)
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(message)

    # A daemon, as it must not keep a process from ending.
    threading.Thread(target=work, name="stellwerk call", daemon=True).start()
    if not wait([answer], seconds).done:
        raise TimeoutError
    return answer.result()


async def ago(way: Way[Outcome], ask: Callable[[Replica, float | None], Awaitable[AIMessage]]) -> Outcome:
    """Go the way of a call in this event loop; as `go`."""
    try:
        step = next(way)
        while True:
            message = None
            try:
                match step:
                    case Try():
                        message = await in_time(ask(step.replica, step.timeout), step.timeout)
                    case Wait():
                        await await_for(step)
            except BaseException as error:
                step = way.throw(error)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome


def wait_for(step: Wait) -> None:
    """Wait in this thread."""
    if step.future is None:
        time.sleep(step.seconds)
    else:
        with suppress(FutureTimeoutError):
            step.future.result(step.seconds)


async def await_for(step: Wait) -> None:
    """Wait in this event loop."""
    if step.future is None:
        await asyncio.sleep(step.seconds)
    else:
        # Not `wait_for`: it cancels what it waits for, and a place may be granted just then.
        await asyncio.wait({asyncio.wrap_future(step.future)}, timeout=step.seconds)


async def in_time(answer: Awaitable[Answer], seconds: float | None) -> Answer:
    """The answer, if it comes in so many seconds; a client's own timeout starts anew with each byte.

    An event loop that is kept from running sees its timers and its answers late alike, and must not take the
    answers for missing: the limit moves by as much as it came late, to twice its length at most.
    """
    if seconds is None:
        return await answer
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    latest = due + seconds
    timer: asyncio.TimerHandle | None = None

    def look(due: float) -> None:
        nonlocal timer
        now = loop.time()
        if now - due > _LATE and now < latest:
            due = min(now + (now - due), latest)
            timer = loop.call_at(due, look, due)
        else:
            limit.reschedule(now)

    async with asyncio.timeout(None) as limit:
        timer = loop.call_at(due, look, due)
        try:
            return await answer
        finally:
            timer.cancel()
