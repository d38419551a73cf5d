"""One run of the orchestrator on a thread that outlives the process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any, cast

from filelock import FileLock, Timeout
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.state import CompiledStateGraph

from stellwerk.cli.progress import ModelCalls, Progress
from stellwerk.errors import ConfigurationError, InputError, MissingExtraError, ModelFileError, StellwerkError
from stellwerk.graphs.default import default_orchestrator
from stellwerk.outcome import SubtaskResult
from stellwerk.persistence.traces import TraceStore
from stellwerk.settings import Settings
from stellwerk.tiers.model_files import file_state, models_dir

Graph = CompiledStateGraph[Any, Any, Any, Any]
Values = dict[str, Any]


class InterruptedRun(Exception):  # noqa: N818  # no error: the user asked for it
    """The run was broken off by a signal; its thread can be resumed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


class Session:
    """A thread of the database, with the graph that runs on it."""

    def __init__(self, graph: Graph, saver: AsyncSqliteSaver, thread: str) -> None:
        self.progress = Progress()
        self._graph = graph
        self._saver = saver
        self._config: RunnableConfig = {
            "configurable": {"thread_id": thread},
            "callbacks": [ModelCalls(self.progress)],
        }

    async def state(self) -> tuple[Values, bool]:
        """What the thread holds, and whether it waits to be resumed; no values if there is no such thread."""
        state = await self._graph.aget_state(self._config)
        return state.values, bool(state.next)

    async def start(self, given: Values, say: Callable[[str], None]) -> Values:
        """Run a task to its end."""
        return await self._drive(given, say)

    async def resume(self, say: Callable[[str], None]) -> Values:
        """Go on where the run was broken off."""
        values, _ = await self.state()
        if plan := values.get("final_plan"):
            # A finished subtask is a pending write of `execute`; the stream does not repeat it.
            saved = await self._saver.aget_tuple(self._config)
            writes = (saved.pending_writes if saved else None) or ()
            done: list[SubtaskResult] = [value for _, channel, value in writes if channel == "__return__"]
            self.progress.restore(plan, done)
        return await self._drive(None, say)

    async def _drive(self, given: Values | None, say: Callable[[str], None]) -> Values:
        stream = self._graph.astream(
            given, self._config, stream_mode="tasks", subgraphs=True, durability="sync"
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
            async for namespace, event in events:
                for line in self.progress.feed(namespace, event):
                    say(line)
        values, unfinished = await self.state()
        if unfinished:
            raise StellwerkError(
                "the run waits for a person's answer, which only a program or Studio can give"
            )
        return values


@asynccontextmanager
async def open_session(settings: Settings, thread: str) -> AsyncIterator[Session]:
    """Open the database and hold the thread, so that no other process runs it at the same time.

    Raises:
        ConfigurationError: if the database cannot be opened.
        InputError: if the thread is being run elsewhere.
        StellwerkError: if the database fails in the middle.
    """
    path = settings.database
    held = path.with_name(f"{path.name}.{thread}.lock")
    lock = FileLock(held, blocking=False)
    try:
        # The database holds the documents of each run: nobody else's business.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        lock.acquire()
    except Timeout:
        raise InputError(f"thread {thread} is running in another process; wait for it or stop it") from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot open the database {path}: {error.strerror or error}; choose another with --database"
        ) from error
    try:
        async with (
            AsyncSqliteSaver.from_conn_string(str(path)) as saver,
            TraceStore.from_url(path) as traces,
        ):
            graph = default_orchestrator(settings, traces=traces).compile(checkpointer=saver)
            yield Session(graph, saver, thread)
    except sqlite3.Error as error:
        raise StellwerkError(
            f"the database {path} failed: {error}; choose another with --database"
        ) from error
    finally:
        with suppress(OSError):  # Windows keeps what is open
            held.unlink()
        lock.release()


def check_models(settings: Settings) -> None:
    """Check that the embedded models can be loaded, where they are needed.

    Raises:
        MissingExtraError: if llama.cpp is not installed.
        ModelFileError: if a file is absent.
    """
    if settings.tiers:
        return
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("xllamacpp", "embedded")
    if absent := [name for name in settings.models if file_state(name) == "absent"]:
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
    """
    received: list[int] = []

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
    finally:
        if not received:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
