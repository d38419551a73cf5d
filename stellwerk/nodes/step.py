"""A node whose logic is written once, for sync and async graphs.

The logic is a generator that yields the work it wants done and receives what came of it. Only the work
itself knows how it is done one way and the other, so no node has a second, asynchronous copy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable, RunnableConfig

from stellwerk.errors import TierError
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
        return self.tier.call(self.request)

    async def ado(self) -> Reply:
        """Make the call; as `do`."""
        return await self.tier.acall(self.request)


Asking = Generator[Ask, Reply, Any]
"""Yields calls, receives replies (or has a `TierError` thrown in), returns the state update."""

Working = Generator[Work, Any, Any]
"""As `Asking`, for a step that wants other work done as well."""


class Step(Runnable[Any, Any]):
    """A graph node driven from a generator.

    A plain `Runnable` instead of a function pair: LangGraph has no public node type that takes both
    a sync and an async function without a tracing layer of its own, which costs 0.2 ms a node.
    """

    def __init__(self, name: str, core: Callable[[Any], Working]) -> None:
        self.name = name
        self._core = core

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step, doing its work one piece after the other."""
        working = self._core(input)
        try:
            work = next(working)
            while True:
                try:
                    done = work.do()
                except TierError as error:
                    work = working.throw(error)
                else:
                    work = working.send(done)
        except StopIteration as stop:
            return stop.value

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step, doing its work one piece after the other; as `invoke`."""
        working = self._core(input)
        try:
            work = next(working)
            while True:
                try:
                    done = await work.ado()
                except TierError as error:
                    work = working.throw(error)
                else:
                    work = working.send(done)
        except StopIteration as stop:
            return stop.value
