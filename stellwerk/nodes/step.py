"""A node whose logic is written once, for sync and async graphs.

The logic is a generator that yields the model calls it wants made and receives the replies. Only the
two drivers below know how a call is made, so no node has a second, asynchronous copy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from stellwerk.errors import TierError
from stellwerk.tiers.tier import Reply, Request, Tier


@dataclass(frozen=True, slots=True)
class Ask:
    """A model call that a step wants made."""

    tier: Tier
    request: Request


Asking = Generator[Ask, Reply, Any]
"""Yields calls, receives replies (or has a `TierError` thrown in), returns the state update."""


class Step(Runnable[Any, Any]):
    """A graph node driven from a generator.

    A plain `Runnable` instead of a function pair: LangGraph has no public node type that takes both
    a sync and an async function without a tracing layer of its own, which costs 0.2 ms a node.
    """

    def __init__(self, name: str, core: Callable[[Any], Asking]) -> None:
        self.name = name
        self._core = core

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step, making its calls one after the other."""
        asking = self._core(input)
        try:
            ask = next(asking)
            while True:
                try:
                    reply = ask.tier.call(ask.request)
                except TierError as error:
                    ask = asking.throw(error)
                else:
                    ask = asking.send(reply)
        except StopIteration as stop:
            return stop.value

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step, making its calls one after the other; as `invoke`."""
        asking = self._core(input)
        try:
            ask = next(asking)
            while True:
                try:
                    reply = await ask.tier.acall(ask.request)
                except TierError as error:
                    ask = asking.throw(error)
                else:
                    ask = asking.send(reply)
        except StopIteration as stop:
            return stop.value
