"""A thread of the database, with the graph that runs on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from stellwerk.errors import InputError, LeaseError, StellwerkError
from stellwerk.graphs.progress import ModelCalls, Progress
from stellwerk.graphs.questions import Asked, open_questions, short_ids
from stellwerk.graphs.recorded import note_ending
from stellwerk.nodes.state import OrchestratorState
from stellwerk.nodes.supervisor import task_of
from stellwerk.outcome import SubtaskResult
from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore
from stellwerk.persistence.database import AsyncDatabase
from stellwerk.persistence.heartbeat import Hold
from stellwerk.persistence.run_units import Run
from stellwerk.persistence.runs import AsyncRunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.probe_ladder import aprobe_ladder

Graph = CompiledStateGraph[Any, Any, Any, Any]
Values = dict[str, Any]
Say = Callable[[str], None]
Drive = Callable[[Graph, "Values | Command[Any] | None", RunnableConfig], Awaitable[None]]
"""Runs a graph on an input under a config, until it stops."""
TTL = 60.0  # seconds until a run whose process died can be taken over
_PROBE = 30.0  # seconds that a run waits to know what its servers do
_HEARTBEAT = 3.0  # seconds until a run notices that it is cancelled
_OUTPUT = ("answer", "results", "failure", "ledger", "final_plan")


class ProbedGraph:
    """A graph on a ladder whose servers are asked what they do before they are needed, where nobody knows.

    Args:
        build: makes the graph on a ladder.
        ladder: the tiers.
        database: keeps what was found.
        pause: seconds in which servers of which nothing was found are not asked again.
    """

    def __init__(
        self, build: Callable[[Ladder], Graph], ladder: Ladder, database: AsyncDatabase, *, pause: float = 0.0
    ) -> None:
        self.ladder = ladder
        self.graph = build(ladder)
        self._build = build
        self._known = AsyncSQLAlchemyCapabilityStore(database)
        self._pause = pause
        self._again = 0.0  # by the monotonic clock
        self._lock = asyncio.Lock()

    async def find_out(self, say: Say) -> None:
        """Ask the servers of which nothing is known; the graph is then one that knows."""

        def tell(tier: str) -> None:
            say(f"asking what the server of {tier} can do")

        async with self._lock:
            if time.monotonic() < self._again:
                return
            probed = await aprobe_ladder(self.ladder, self._known, limit=_PROBE, tell=tell)
            self._again = time.monotonic() + self._pause
            if any(new is not old for new, old in zip(probed, self.ladder, strict=True)):
                self.ladder, self.graph = probed, self._build(probed)


class Session:
    """A thread of the database, with the graph that runs on it.

    What runs holds the thread, so that no other process does at the same time.

    Args:
        probed: the graph, compiled with the saver.
        saver: holds the thread.
        thread: its name.
        busy: the error that says by whom the thread is being run.
        drive: how the graph is run, where somebody wants more of it than lines; it has to be durable.
    """

    def __init__(
        self,
        probed: ProbedGraph,
        saver: AsyncSQLAlchemySaver,
        thread: str,
        busy: Callable[[str, Run], Exception],
        *,
        drive: Drive | None = None,
    ) -> None:
        self.progress = Progress()
        self.asked: list[Asked] = []  # what the run stopped for
        self._probed = probed
        self._saver = saver
        self._runs = AsyncRunStore(saver.database)
        self._thread = thread
        self._busy = busy
        self._own_drive = drive
        self._config: RunnableConfig = {"configurable": {"thread_id": thread}}

    async def state(self) -> tuple[Values, bool]:
        """What the thread holds, and whether it waits to be resumed; no values if there is no such thread."""
        state = await self._probed.graph.aget_state(self._config)
        return state.values, bool(state.next)

    async def start(self, given: Values, say: Say | None, *, unfinished: Exception) -> Values:
        """Run a task to its end.

        Args:
            given: the task, as the graph takes it.
            say: told how it goes; if None, nobody is, and there is no progress.
            unfinished: the error that says that the thread has to be resumed.

        Raises:
            Exception: `busy` if the thread is being run elsewhere, `unfinished` if it waits to be resumed.
        """
        if (await self.state())[1]:
            await self.check_free()
            raise unfinished
        async with self._held(task_of(cast("OrchestratorState", given))) as hold:
            if (await self.state())[1]:  # since a moment ago
                raise unfinished
            return await self._drive(given, say, hold)

    async def questions(self) -> list[Asked]:
        """The questions of the thread that are open."""
        return open_questions(await self._saver.aget_tuple(self._config))

    async def resume(self, say: Say | None, answers: Mapping[str, Any] | None = None) -> Values:
        """Go on where the run was broken off, or waits for a person.

        Args:
            say: as for `start`.
            answers: to questions, by their ids; the others stay open.

        Raises:
            InputError: if a question is not open any more.
            Exception: `busy` if the thread is being run elsewhere.
        """
        earlier = await self._runs.list(thread_id=self._thread, limit=1)
        if answers and earlier and earlier[0].error:
            # It was broken off, perhaps in the middle of what an earlier answer had set going: a second
            # answer would be taken for one to what is asked next. What is open shows when it stops.
            await self.resume(say)
        if answers:
            await self._check_open(answers)
        async with self._held(earlier[0].task if earlier else "") as hold:
            values, _ = await self.state()
            if plan := values.get("final_plan"):
                # A finished subtask is a pending write of `execute`; the stream does not repeat it.
                saved = await self._saver.aget_tuple(self._config)
                writes = (saved.pending_writes if saved else None) or ()
                done: list[SubtaskResult] = [value for _, channel, value in writes if channel == "__return__"]
                if values.get("round"):  # what an earlier plan gave, and this one keeps
                    done += values["results"].values()
                self.progress.restore(plan, done)
            return await self._drive(Command(resume=dict(answers)) if answers else None, say, hold)

    async def check_free(self) -> None:
        """Check that nobody runs the thread at this moment.

        Raises:
            Exception: `busy` if somebody does.
        """
        if running := await self._runs.list(thread_id=self._thread, status="running", limit=1):
            raise self._busy(self._thread, running[0])

    async def _check_open(self, answers: Mapping[str, Any]) -> None:
        asked = await self.questions()
        if closed := answers.keys() - {one.id for one in asked}:
            left = ", ".join(short_ids(asked).values()) or "none"
            raise InputError(
                f"what {', '.join(sorted(one[:8] for one in closed))} asks was answered meanwhile, "
                f"and nothing is answered now; open are {left}"
            )

    @asynccontextmanager
    async def _held(self, task: str) -> AsyncIterator[Hold]:
        async with AsyncExitStack() as stack:
            running = self._runs.running(self._thread, task=task, ttl=TTL, interval=_HEARTBEAT)
            try:
                hold = await stack.enter_async_context(running)
            except LeaseError:
                await self.check_free()
                raise
            yield hold

    async def _drive(self, given: Values | Command[Any] | None, say: Say | None, hold: Hold) -> Values:
        self.asked = []
        await self._probed.find_out(say or _to_nobody)
        if self._own_drive is not None:
            config: RunnableConfig = {**self._config, "callbacks": [ModelCalls(self.progress)]}
            await self._own_drive(self._probed.graph, given, hold.bind(config))
        elif say is None:
            await self._probed.graph.ainvoke(given, hold.bind(self._config), durability="sync")
        else:
            await self._watch(given, say, hold)
        values, waiting = await self.state()
        note_ending(hold, values, waiting=waiting)
        if waiting:
            self.asked = await self.questions()
            if not self.asked:
                raise StellwerkError(f"thread {self._thread} stopped before its end, and asks nothing")
        return values

    async def _watch(self, given: Values | Command[Any] | None, say: Say, hold: Hold) -> None:
        config: RunnableConfig = {**self._config, "callbacks": [ModelCalls(self.progress)]}
        stream = self._probed.graph.astream(
            given, hold.bind(config), stream_mode="tasks", subgraphs=True, durability="sync"
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
            async for namespace, event in events:
                for line in self.progress.feed(namespace, event):
                    say(line)


def _to_nobody(line: str) -> None:
    pass


def ended(thread: str, values: Values, asked: Sequence[Asked]) -> dict[str, Any]:
    """What came of a run, as JSON: its output, or what it asks of people."""
    if asked:
        return {"thread": thread, "status": "waiting", "questions": [one.plain() for one in asked]}
    status = "failed" if values.get("failure") else "done"
    return {"thread": thread, "status": status, **{name: values.get(name) for name in _OUTPUT}}
