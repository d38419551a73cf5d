"""A graph whose runs stand in the list of runs, beside those of the command line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from stellwerk.errors import StellwerkError
from stellwerk.graphs.observed import NoteOwner, ObservedBuilder, ObservedGraph
from stellwerk.persistence.database import AsyncDatabase
from stellwerk.persistence.heartbeat import Hold
from stellwerk.persistence.lease import LEASE_KEY
from stellwerk.persistence.owned import LOCAL
from stellwerk.persistence.runs import AsyncRunStore

_log = logging.getLogger(__name__)
_TTL = 20.0  # seconds until a thread whose server died is free again
_HEARTBEAT = 3.0  # seconds until a run notices that it is cancelled


class RecordedGraph(ObservedGraph):
    """Each async run holds its thread, so that no other process runs it as well, and can be cancelled.

    That is so where its checkpointer is an `AsyncSQLAlchemySaver`, or around one; elsewhere it runs as any.
    """

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """As that of LangGraph.

        Raises:
            RuntimeError: in the place of each error of Stellwerk's; among them a `LeaseError` if another
                process runs the thread, and a `RunCancelledError` if somebody asked for the run to end.
        """
        try:
            async with aclosing(self._run(input, config, options)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (
            StellwerkError
        ) as error:  # of other kinds than the built-in ones, the server keeps the words back
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    async def _note_owner(self, owner: str, thread: str) -> None:
        note = self.builder.note_owner if isinstance(self.builder, ObservedBuilder) else None
        if note is None or not thread or owner in ("", LOCAL):
            return
        try:
            await asyncio.to_thread(note, owner, thread)
        except StellwerkError:  # the run is in nobody's report then, which is no reason to have none
            _log.warning("it could not be noted whose the thread %s is", thread, exc_info=True)

    async def _run(
        self, input: Any, config: RunnableConfig | None, options: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        database = getattr(self.checkpointer, "database", None)
        configurable = (config or {}).get("configurable") or {}
        thread = str(configurable.get("thread_id") or "")
        # Said by the server, which takes it from no client.
        await self._note_owner(str(configurable.get("langgraph_auth_user_id") or ""), thread)
        if not isinstance(database, AsyncDatabase) or not thread or LEASE_KEY in configurable:
            async with aclosing(self._chunks(input, config, options)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        runs = AsyncRunStore(database)
        task = _task(input)
        if not task and (earlier := await runs.list(thread_id=thread, limit=1)):
            task = earlier[0].task
        made: asyncio.Queue[tuple[Any] | None] = asyncio.Queue()

        async def work() -> None:
            try:
                async with runs.running(thread, task=task, ttl=_TTL, interval=_HEARTBEAT) as hold:
                    async with aclosing(self._chunks(input, hold.bind(config or {}), options)) as chunks:
                        async for chunk in chunks:
                            made.put_nowait((chunk,))
                    state = await self.aget_state({"configurable": {"thread_id": thread}})
                    note_ending(hold, state.values, waiting=bool(state.next))
            finally:
                made.put_nowait(None)

        # The server takes each chunk in another task, and a run that loses its thread has one cancelled.
        working = asyncio.create_task(work())
        try:
            while (chunk := await made.get()) is not None:
                yield chunk[0]
            await working
        finally:
            working.cancel()
            await asyncio.wait([working])
            if not working.cancelled():
                working.exception()  # it was raised, or nobody is there any more to hear of it

    def _chunks(
        self, input: Any, config: RunnableConfig | None, options: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        return cast("AsyncGenerator[Any, None]", super().astream(input, config, **options))


def recorded(
    graph: CompiledStateGraph[Any, Any, Any, Any], note_owner: NoteOwner | None = None
) -> RecordedGraph:
    """The same graph, whose runs stand in the list of runs.

    Args:
        graph: to be recorded.
        note_owner: told, in a thread, whose a thread is that is run, where the server knows it.
    """
    assert isinstance(graph, ObservedGraph)
    assert isinstance(graph.builder, ObservedBuilder)
    graph.builder.note_owner = note_owner
    graph.__class__ = RecordedGraph  # made anew from its attributes, it would lose private ones
    return cast("RecordedGraph", graph)


def note_ending(hold: Hold, values: Mapping[str, Any], *, waiting: bool) -> None:
    """Note in a run's row how it ended, and what it cost.

    Args:
        hold: of the run.
        values: what its thread holds.
        waiting: whether it waits to be resumed.
    """
    verdict = values.get("verdict") or {}  # of a worker that runs alone
    if waiting:
        hold.status = "interrupted"
    elif failure := values.get("failure"):
        hold.status, hold.error = "failed", failure["message"]
    elif verdict.get("accepted") is False:
        hold.status, hold.error = (
            "failed",
            f"{verdict.get('reason', 'rejected')}: {verdict.get('detail', '')}",
        )
    if ledger := values.get("ledger"):
        accepted = sum(ledger["accepted"].values())
        hold.totals = {
            **ledger["total"],
            "attempts": ledger["attempts"],
            "accepted": accepted,
            "wall_seconds": ledger["wall_seconds"],
        }


def _task(given: Any) -> str:
    """What a run is to do, as far as its input says."""
    if not isinstance(given, Mapping):
        return ""
    task = given.get("task") or given.get("instruction")
    if not task and (messages := given.get("messages")):
        last = messages[-1]
        task = last.get("content") if isinstance(last, Mapping) else getattr(last, "text", "")
    return task if isinstance(task, str) else ""
