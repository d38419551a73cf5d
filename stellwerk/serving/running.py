"""Runs on their way: how many there may be, and when they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from stellwerk.serving import problem
from stellwerk.serving.problem import Problem
from stellwerk.settings import ServingSettings

T = TypeVar("T")
_RETRY = "2"  # seconds, after which a place may be free


class Running(Generic[T]):
    """A run in a task of its own, which may be told to stop."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = asyncio.create_task(work)
        self._why: Problem | None = None

    def stop(self, why: Problem) -> None:
        """Cancel it, unless it has ended or is being cancelled."""
        if self._why is None and not self.task.done():
            self._why = why
            self.task.cancel()

    async def stopped(self, why: Problem) -> None:
        """Cancel it, and wait until its thread is let go; whoever waits may be cancelled meanwhile."""
        self.stop(why)
        await asyncio.shield(asyncio.wait([self.task]))

    def result(self) -> T:
        """What it gave.

        Raises:
            Problem: why it was stopped.
            Exception: that it ended with.
        """
        if self.task.cancelled():
            raise self._why or problem.closing()
        return self.task.result()


class Runs:
    """The runs of this process."""

    def __init__(self, serving: ServingSettings) -> None:
        self.closing = False
        self._limits = serving
        self._owners: dict[Running[Any], str] = {}

    def check(self, owner: str) -> None:
        """Check that there is a place for a run.

        Raises:
            Problem: if there is none.
        """
        if self.closing:
            raise problem.closing()
        limits, theirs = self._limits, list(self._owners.values()).count(owner)
        if theirs >= limits.max_runs_per_owner:
            raise _full(f"{theirs} of your runs are on their way, and no more may be at a time")
        if len(self._owners) >= limits.max_runs:
            raise _full("As many runs are on their way as this server takes")

    def start(self, owner: str, work: Callable[[], Coroutine[Any, Any, T]]) -> Running[T]:
        """Start a run, which ends after `run_seconds` at the latest.

        Raises:
            Problem: if there is no place for it.
        """
        self.check(owner)
        limits = self._limits
        running = Running(work())
        self._owners[running] = owner
        timer = asyncio.get_running_loop().call_later(
            limits.run_seconds, running.stop, problem.late(limits.run_seconds)
        )

        def end(_: asyncio.Task[T]) -> None:
            timer.cancel()
            self._owners.pop(running, None)

        running.task.add_done_callback(end)
        return running

    def close(self) -> None:
        """Take no more, and stop those on their way after `grace_seconds`; at once if called again."""
        again, self.closing = self.closing, True
        grace = 0.0 if again else self._limits.grace_seconds
        asyncio.get_running_loop().call_later(grace, self._stop)

    async def wait(self) -> None:
        """Stop what is still on its way, and wait until all threads are let go."""
        self.closing = True
        self._stop()
        if tasks := [running.task for running in self._owners]:
            await asyncio.wait(tasks)

    def _stop(self) -> None:
        for running in list(self._owners):
            running.stop(problem.closing())


async def outcome(request: Request, running: Running[T]) -> T:
    """What a run gives to the client that waits for it; one that goes away stops it.

    Raises:
        Problem: for whatever the run ended with; what nobody foresaw would cost the client its connection.
    """
    gone = asyncio.create_task(client_gone(request.receive))
    try:
        await asyncio.wait([running.task, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not running.task.done():
            await running.stopped(problem.gone())
    try:
        return running.result()
    except Problem:
        raise
    except Exception as error:
        raise problem.of(error) from error


async def client_gone(receive: Receive) -> None:
    """Wait until the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _full(said: str) -> Problem:
    return Problem(
        429, "Too many runs", f"{said}; try again in a few seconds.", headers={"Retry-After": _RETRY}
    )
