"""One run of the orchestrator on a thread that outlives the process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from math import ceil
from typing import Any, TypeVar

from sqlalchemy import URL

from stellwerk.errors import (
    InputError,
    LeaseError,
    MissingExtraError,
    ModelFileError,
    RunCancelledError,
)
from stellwerk.graphs.opened import opened
from stellwerk.graphs.session import TTL, ProbedGraph, Session
from stellwerk.observing.configured import configured_observers, start_exporting
from stellwerk.persistence.run_units import Run
from stellwerk.settings import Settings
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.model_files import file_state, models_dir

T = TypeVar("T")
CANCELLED = 3  # exit code of a run that was cancelled with `stellwerk runs cancel`
WAITING = 4  # exit code of a run that waits for a person's answer


class InterruptedRun(Exception):  # noqa: N818  # no error: the user asked for it
    """The run was broken off by a signal; its thread can be resumed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


@asynccontextmanager
async def open_session(settings: Settings, url: URL, thread: str, ladder: Ladder) -> AsyncIterator[Session]:
    """Open the database; whoever opens sessions calls `finish_exporting` after the last.

    Raises:
        DatabaseError: if it fails in the middle.
    """
    start_exporting(settings)
    async with opened(settings, url, configured_observers(settings)) as at:
        if "cache" in at.kept:
            await at.store.sweep_ttl()  # or answers that nobody asks for again would stay for ever
        yield Session(ProbedGraph(at.build, ladder, at.saver.database), at.saver, thread, _busy)


def _busy(thread: str, run: Run) -> InputError:
    left = TTL if run.expires_at is None else (run.expires_at - datetime.now(UTC)).total_seconds()
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


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or wind down at the first SIGINT or SIGTERM; a second one ends the process at once.

    Raises:
        InterruptedRun: after a signal; the checkpoints are on disk by then.
        RunCancelledError: if it was cancelled from another process; they are as well.
        LeaseError: if another process took the thread over.
    """
    received: list[int] = []
    left_behind = False

    async def main() -> T:
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
