"""One run of the orchestrator on a thread that outlives the process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from math import ceil
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from sqlalchemy import URL

from stellwerk.cli.progress import ModelCalls, Progress
from stellwerk.errors import (
    InputError,
    LeaseError,
    MissingExtraError,
    ModelFileError,
    RunCancelledError,
    StellwerkError,
)
from stellwerk.graphs.default import default_ladder, default_orchestrator
from stellwerk.outcome import SubtaskResult
from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore
from stellwerk.persistence.heartbeat import Hold
from stellwerk.persistence.run_units import Run
from stellwerk.persistence.runs import AsyncRunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from stellwerk.settings import Settings
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.model_files import file_state, models_dir
from stellwerk.tiers.probe_ladder import aprobe_ladder

Graph = CompiledStateGraph[Any, Any, Any, Any]
Values = dict[str, Any]
CANCELLED = 3  # exit code of a run that was cancelled with `stellwerk runs cancel`
_TTL = 60.0  # seconds until a run whose process died can be taken over
_PROBE = 30.0  # seconds that a run waits to know what its servers do
_HEARTBEAT = 3.0  # seconds until a run notices that it is cancelled


class InterruptedRun(Exception):  # noqa: N818  # no error: the user asked for it
    """The run was broken off by a signal; its thread can be resumed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


class Session:
    """A thread of the database, with the graph that runs on it.

    What runs holds the thread, so that no other process does at the same time.
    """

    def __init__(
        self, build: Callable[[Ladder], Graph], ladder: Ladder, saver: AsyncSQLAlchemySaver, thread: str
    ) -> None:
        self.progress = Progress()
        self._build = build
        self._ladder = ladder
        self._graph = build(ladder)
        self._saver = saver
        self._runs = AsyncRunStore(saver.database)
        self._thread = thread
        self._config: RunnableConfig = {
            "configurable": {"thread_id": thread},
            "callbacks": [ModelCalls(self.progress)],
        }

    async def state(self) -> tuple[Values, bool]:
        """What the thread holds, and whether it waits to be resumed; no values if there is no such thread."""
        state = await self._graph.aget_state(self._config)
        return state.values, bool(state.next)

    async def start(self, given: Values, say: Callable[[str], None], *, unfinished: InputError) -> Values:
        """Run a task to its end.

        Raises:
            InputError: if the thread is being run elsewhere; `unfinished` if it waits to be resumed.
        """
        if (await self.state())[1]:
            await self.check_free()
            raise unfinished
        async with self._held(given["task"]) as hold:
            if (await self.state())[1]:  # since a moment ago
                raise unfinished
            values, waiting = await self._drive(given, say, hold)
        return _answered(values, waiting)

    async def resume(self, say: Callable[[str], None]) -> Values:
        """Go on where the run was broken off.

        Raises:
            InputError: if the thread is being run elsewhere.
        """
        earlier = await self._runs.list(thread_id=self._thread, limit=1)
        async with self._held(earlier[0].task if earlier else "") as hold:
            values, _ = await self.state()
            if plan := values.get("final_plan"):
                # A finished subtask is a pending write of `execute`; the stream does not repeat it.
                saved = await self._saver.aget_tuple(self._config)
                writes = (saved.pending_writes if saved else None) or ()
                done: list[SubtaskResult] = [value for _, channel, value in writes if channel == "__return__"]
                self.progress.restore(plan, done)
            values, waiting = await self._drive(None, say, hold)
        return _answered(values, waiting)

    async def check_free(self) -> None:
        """Check that nobody runs the thread at this moment.

        Raises:
            InputError: if somebody does.
        """
        if running := await self._runs.list(thread_id=self._thread, status="running", limit=1):
            raise _busy(self._thread, running[0])

    @asynccontextmanager
    async def _held(self, task: str) -> AsyncIterator[Hold]:
        async with AsyncExitStack() as stack:
            running = self._runs.running(self._thread, task=task, ttl=_TTL, interval=_HEARTBEAT)
            try:
                hold = await stack.enter_async_context(running)
            except LeaseError:
                await self.check_free()
                raise
            yield hold

    async def _drive(
        self, given: Values | None, say: Callable[[str], None], hold: Hold
    ) -> tuple[Values, bool]:
        await self._find_out(say)
        stream = self._graph.astream(
            given, hold.bind(self._config), stream_mode="tasks", subgraphs=True, durability="sync"
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
            async for namespace, event in events:
                for line in self.progress.feed(namespace, event):
                    say(line)
        values, waiting = await self.state()
        if waiting:
            hold.status = "interrupted"
        elif failure := values.get("failure"):
            hold.status, hold.error = "failed", failure["message"]
        if ledger := values.get("ledger"):
            accepted = sum(ledger["accepted"].values())
            hold.totals = {
                **ledger["total"],
                "attempts": ledger["attempts"],
                "accepted": accepted,
                "wall_seconds": ledger["wall_seconds"],
            }
        return values, waiting

    async def _find_out(self, say: Callable[[str], None]) -> None:
        """What the tiers' servers do, where it is not known; only before they are needed."""
        known = AsyncSQLAlchemyCapabilityStore(self._saver.database)

        def tell(tier: str) -> None:
            say(f"asking what the server of {tier} can do")

        probed = await aprobe_ladder(self._ladder, known, limit=_PROBE, tell=tell)
        if any(new is not old for new, old in zip(probed, self._ladder, strict=True)):
            self._graph = self._build(probed)


@asynccontextmanager
async def open_session(settings: Settings, url: URL, thread: str) -> AsyncIterator[Session]:
    """Open the database.

    Raises:
        DatabaseError: if it fails in the middle.
    """
    async with AsyncSQLAlchemySaver.from_url(url) as saver, TraceStore.from_url(url) as traces:

        def build(ladder: Ladder) -> Graph:
            orchestrator = default_orchestrator(settings, ladder=ladder, traces=traces)
            return orchestrator.compile(checkpointer=saver)

        yield Session(build, default_ladder(settings), saver, thread)


def _answered(values: Values, waiting: bool) -> Values:
    if waiting:
        raise StellwerkError("the run waits for a person's answer, which only a program or Studio can give")
    return values


def _busy(thread: str, run: Run) -> InputError:
    left = _TTL if run.expires_at is None else (run.expires_at - datetime.now(UTC)).total_seconds()
    return InputError(
        f"thread {thread} is running in another process ({run.holder}); wait for it or stop it with: "
        f"stellwerk runs cancel {thread}; if that process is dead, its thread is free in "
        f"{max(1, ceil(left))} s"
    )


def check_models(settings: Settings) -> None:
    """Check that the embedded models can be loaded, where they are needed.

    Raises:
        MissingExtraError: if llama.cpp is not installed.
        ModelFileError: if a file is absent.
    """
    if not settings.embedded_models:
        return
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("xllamacpp", "embedded")
    if absent := [name for name in settings.embedded_models if file_state(name) == "absent"]:
        names = " ".join(absent)
        raise ModelFileError(f"no file of {names} in {models_dir()}; run: stellwerk models pull {names}")


def new_thread() -> str:
    """A random name for a thread, easy to read out and to type."""
    syllables = [secrets.choice("bdfgklmnprstvz") + secrets.choice("aeiou") for _ in range(4)]
    return f"{''.join(syllables[:2])}-{''.join(syllables[2:])}-{secrets.randbelow(90) + 10}"


def run_until_signal(work: Coroutine[Any, Any, Values]) -> Values:
    """Run to the end, or wind down at the first SIGINT or SIGTERM; a second one ends the process at once.

    Raises:
        InterruptedRun: after a signal; the checkpoints are on disk by then.
        RunCancelledError: if it was cancelled from another process; they are as well.
        LeaseError: if another process took the thread over.
    """
    received: list[int] = []
    left_behind = False

    async def main() -> Values:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)

        def stop(number: int) -> None:
            if received:
                os._exit(128 + number)
            received.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # on Windows Ctrl-C arrives as KeyboardInterrupt
                loop.add_signal_handler(number, stop, number)
        return await task

    # Not asyncio.run: it would wait for the thread of an embedded model, which cannot be stopped
    # before its answer ends.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise InterruptedRun(received[0] if received else signal.SIGINT) from None
    except (RunCancelledError, LeaseError):
        left_behind = True
        raise
    finally:
        if not received and not left_behind:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
