"""The runs of a request of LangServe's, and how they are stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from stellwerk.serving import problem
from stellwerk.serving.langserve.chosen import Chosen
from stellwerk.serving.problem import Problem
from stellwerk.serving.running import Running
from stellwerk.serving.service import Service

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
_KEY = "__stellwerk_visit__"  # two underscores in front keep it out of metadata, and so of events
_FULL = 429


class Visit:
    """Whose request it is, what it chose for each of its inputs, and its runs on their way.

    LangServe hands its config on to the graph, and that is how the graph gets at it. What a client says of
    its thread stands nowhere else.
    """

    def __init__(self, owner: str, service: Service, chosen: Sequence[Chosen]) -> None:
        self.owner = owner
        self.service = service
        self.chosen = chosen
        self.threads: dict[int, str] = {}  # on which inputs are run, by their numbers
        self.begun = asyncio.Event()  # set when a run has a place
        self._on_their_way: set[Running[Any]] = set()
        self._why: Problem | None = None

    @property
    def config(self) -> RunnableConfig:
        """What goes over all that a client's config says."""
        return {"configurable": {_KEY: self}}

    @classmethod
    def of(cls, config: RunnableConfig | None) -> Visit:
        """The visit that a graph is called for."""
        visit: Visit = ((config or {}).get("configurable") or {})[_KEY]
        return visit

    def start(self, work: Work[T]) -> Running[T]:
        """Start a run, within the limits of all.

        Raises:
            Problem: if there is no place for it, or the request is being stopped.
        """
        if self._why is not None:
            raise self._why
        running = self.service.runs.start(self.owner, work)
        self.begun.set()
        self._on_their_way.add(running)
        running.task.add_done_callback(lambda _: self._on_their_way.discard(running))
        return running

    def stop(self, why: Problem) -> None:
        """Stop its runs, and let no other begin."""
        self._why = self._why or why
        for running in list(self._on_their_way):
            running.stop(why)

    async def one(self, work: Work[T]) -> T:
        """What a run gives.

        Raises:
            Exception: as `Running.result`.
        """
        running = self.start(work)
        try:
            await asyncio.wait([running.task])
        finally:
            if not running.task.done():
                await running.stopped(problem.gone())
        return running.result()

    async def all(self, works: Sequence[Work[T]]) -> list[T]:
        """What runs give that go side by side, as many as there are places for; the others wait for theirs.

        One that fails ends the others: nobody would be told what they gave.

        Raises:
            Exception: as `Running.result`, of the first that failed.
        """
        seconds = self.service.settings.serve.run_seconds
        until = asyncio.get_running_loop().time() + seconds  # of the request, as of all others
        waiting = deque(enumerate(works))
        on_their_way: dict[asyncio.Task[T], tuple[int, Running[T]]] = {}
        given: dict[int, T] = {}
        try:
            while waiting or on_their_way:
                while waiting and (running := self._placed(waiting[0][1], wait=bool(on_their_way))):
                    on_their_way[running.task] = waiting.popleft()[0], running
                left = until - asyncio.get_running_loop().time()
                done, _ = await asyncio.wait(on_their_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    raise problem.late(seconds)
                for task in done:
                    number, running = on_their_way.pop(task)
                    given[number] = running.result()
        finally:
            if on_their_way:
                for _, running in on_their_way.values():
                    running.stop(problem.gone())
                await asyncio.shield(asyncio.wait(on_their_way))
        return [given[number] for number in range(len(works))]

    def _placed(self, work: Work[T], *, wait: bool) -> Running[T] | None:
        try:
            return self.start(work)
        except Problem as found:
            if wait and found.status == _FULL:
                return None
            raise


class Answering(Running[T]):
    """The making of a response, which is stopped by stopping the runs that it waits for.

    LangChain does not hand each cancellation on to the graph that it streams.
    """

    def __init__(self, visit: Visit, work: Coroutine[Any, Any, T]) -> None:
        super().__init__(work)
        self._visit = visit

    def stop(self, why: Problem) -> None:
        """Stop its runs; it ends with what they end with."""
        self._visit.stop(why)
