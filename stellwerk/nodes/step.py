"""A node whose logic is written once, for sync and async graphs.

The logic is a generator that yields the work it wants done and receives what came of it. Only the work
itself knows how it is done one way and the other, so no node has a second, asynchronous copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable, RunnableConfig

from stellwerk.nodes.observed import call_observed
from stellwerk.tiers.tier import Reply, Request, Tier


class Work(Protocol):
    """Something that a step wants done."""

    def do(self) -> Any:
        """Do it in a sync graph."""
        ...

    async def ado(self) -> Any:
        """Do it in an async graph."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A model call that a step wants made."""

    tier: Tier
    request: Request

    def do(self) -> Reply:
        """Make the call."""
        with call_observed(self.tier, self.request) as told:
            return told(self.tier.call(self.request))

    async def ado(self) -> Reply:
        """Make the call; as `do`."""
        with call_observed(self.tier, self.request) as told:
            return told(await self.tier.acall(self.request))


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds that a step wants waited."""

    seconds: float

    def do(self) -> None:
        """Wait in this thread."""
        time.sleep(self.seconds)

    async def ado(self) -> None:
        """Wait in this event loop."""
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Both:
    """Work that is a call, in its sync and its async form."""

    sync: Callable[[], Any]
    own: Callable[[], Awaitable[Any]]

    def do(self) -> Any:
        """Make the call."""
        return self.sync()

    async def ado(self) -> Any:
        """Make the call; as `do`."""
        return await self.own()


Asking = Generator[Ask, Reply, Any]
"""Yields calls, receives replies (or has what they raise thrown in), returns the state update."""

Working = Generator[Work, Any, Any]
"""As `Asking`, for a step that wants other work done as well."""


def drive(working: Working) -> Any:
    """Do the work of a step, one piece after the other, and give what it gives in the end."""
    try:
        work = next(working)
        while True:
            try:
                done = work.do()
            except BaseException as error:  # thrown in here, so that the core is left in this context
                work = working.throw(error)
            else:
                work = working.send(done)
    except StopIteration as stop:
        return stop.value
    finally:
        working.close()  # at once, where it was cancelled: it may have something to give back


async def adrive(working: Working) -> Any:
    """As `drive`."""
    try:
        work = next(working)
        while True:
            try:
                done = await work.ado()
            except BaseException as error:  # thrown in here, so that the core is left in this context
                work = working.throw(error)
            else:
                work = working.send(done)
    except StopIteration as stop:
        return stop.value
    finally:
        working.close()


class Step(Runnable[Any, Any]):
    """A graph node driven from a generator.

    A plain `Runnable` instead of a function pair: LangGraph has no public node type that takes both
    a sync and an async function without a tracing layer of its own, which costs 0.2 ms a node.
    """

    def __init__(self, name: str, core: Callable[[Any], Working]) -> None:
        self.name = name
        self._core = core

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step."""
        return drive(self._core(input))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step; as `invoke`."""
        return await adrive(self._core(input))
