"""The same graph with the same settings, called in this process: what a server cannot be faster than.

STELLWERK_CONFIG=... python -m benchmarks.serving.in_process --models http://... --load '{...}'
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from langchain_core.runnables import RunnableConfig

from benchmarks.scheduling.plans import DrawnPlan
from benchmarks.serving.arrivals import child
from benchmarks.serving.jobs import body, problem_of
from stellwerk.graphs.default import default_ladder
from stellwerk.graphs.opened import opened
from stellwerk.graphs.session import Graph, ProbedGraph
from stellwerk.persistence.urls import parse_url
from stellwerk.serving.collector import settle
from stellwerk.settings import Settings


class Called:
    """Calls the graph: each step is saved before the next, as the server has it."""

    silence = 0.0

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def task(self, plan: DrawnPlan) -> str | None:
        """By `ainvoke`, on a thread of its own."""
        config: RunnableConfig = {"configurable": {"thread_id": uuid4().hex}}
        return problem_of(plan, await self._graph.ainvoke(body(plan), config, durability="sync"))

    async def stream(self, plan: DrawnPlan, opened: Callable[[], None]) -> str | None:
        """The same; it counts as open from the beginning."""
        opened()
        return await self.task(plan)


@asynccontextmanager
async def called(arguments: argparse.Namespace) -> AsyncIterator[Called]:
    """The graph as the server builds it."""
    settings = Settings.load()
    async with opened(settings, parse_url(settings.place), ()) as at:
        await at.saver.setup()
        probed = ProbedGraph(at.build, default_ladder(settings), at.saver.database)
        await probed.find_out(lambda line: None)
        settle()  # as the server does: it is not to be better for that
        yield Called(probed.graph)


if __name__ == "__main__":
    child(called)
