"""A tool whose calls are given up after some time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool

from stellwerk.deadline import OVER, Deadline, current_deadline, earlier, until
from stellwerk.errors import ConfigurationError

T = TypeVar("T")

_GRACE = 1.0  # seconds that a cancelled call gets to clear up


class ToolTimeoutError(Exception):
    """A call did not end in the time allowed; `deadline` says whose time that was.

    `under_way` is the call, where it goes on in its thread.
    """

    def __init__(self, deadline: Deadline, under_way: Future[Any] | None = None) -> None:
        super().__init__(OVER[deadline.of])
        self.deadline = deadline
        self.under_way = under_way


class ToolOutputError(Exception):
    """A call gave something that is no output for a model."""


class LimitedTool(BaseTool):
    """Another tool, of which only `invoke` and `ainvoke` are used.

    Args:
        inner: the tool.
        seconds: for each call; None for no limit. Where the deadline at hand is earlier, that counts.
    """

    inner: BaseTool
    seconds: float | None

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Call the tool.

        Raises:
            ToolTimeoutError: if it does not end in time; it goes on in its thread.
            ToolOutputError: if it gives a command for the graph.
            ConfigurationError: if it is async only.
        """
        if isinstance(self.inner, StructuredTool) and self.inner.func is None:
            raise self._only_async()
        work = partial(self.inner.invoke, input, config, **kwargs)
        ends = self._ends()
        try:
            return as_message(work() if ends is None else in_time(work, ends))
        except NotImplementedError as error:
            if isinstance(self.inner, StructuredTool) or _is_sync(self.inner):
                raise  # the tool's own
            raise self._only_async() from error

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Call the tool; as `invoke`, but an async tool is cancelled after its time."""
        ends = self._ends()
        if _is_sync(self.inner):
            return as_message(await ain_time(partial(self.inner.invoke, input, config, **kwargs), ends))
        with until(ends):
            call = asyncio.ensure_future(self.inner.ainvoke(input, config, **kwargs))
        return as_message(await _awaited(call, ends))

    def _ends(self) -> Deadline | None:
        own = None if self.seconds is None else Deadline.after(self.seconds, "tool")
        return earlier(own, current_deadline())

    def _only_async(self) -> ConfigurationError:
        return ConfigurationError(
            f"tool {self.name!r} does not run in a sync graph (it is async only); "
            "use ainvoke or astream, or give the tool a sync function"
        )

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("use invoke")


def in_time(work: Callable[[], T], ends: Deadline | None) -> T:
    """Do something in a thread of its own, until a deadline.

    Raises:
        ToolTimeoutError: if it does not end by then; it goes on in its thread.
        TimeOverError: if it was not begun, as that was over.
    """
    with until(ends):
        call = in_thread(work)
    if not wait([call], None if ends is None else ends.left).done:
        assert ends is not None
        raise ToolTimeoutError(ends, call)
    return call.result()


async def ain_time(work: Callable[[], T], ends: Deadline | None) -> T:
    """As `in_time`."""
    # Not the loop's own threads: there are few, and a loop that ends waits for them.
    with until(ends):
        thread = in_thread(work)
    return await _awaited(asyncio.wrap_future(thread), ends, thread)


async def _awaited(call: asyncio.Future[T], ends: Deadline | None, thread: Future[T] | None = None) -> T:
    try:
        done, _ = await asyncio.wait([call], timeout=None if ends is None else ends.left)
        if not done:
            assert ends is not None
            raise ToolTimeoutError(ends, thread)
    except BaseException:
        call.add_done_callback(_forget)
        call.cancel()
        await asyncio.wait([call], timeout=_GRACE)
        raise
    return call.result()


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own, which keeps no process from ending."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # it cannot be cancelled, and how it ended may matter to somebody
    context = copy_context()

    def run() -> None:
        try:
            done = context.run(work)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(done)

    threading.Thread(target=run, name="tool", daemon=True).start()
    return future


def _is_sync(tool: BaseTool) -> bool:
    if isinstance(tool, StructuredTool):
        return tool.coroutine is None
    own = type(tool)
    return own._arun is BaseTool._arun and own.ainvoke is BaseTool.ainvoke


def as_message(given: Any) -> ToolMessage:
    """A tool's output, of which only text is kept: images and the like are left out."""
    if not isinstance(given, ToolMessage):
        raise ToolOutputError(type(given).__name__)
    if isinstance(given.content, str):
        return given
    parts = (part if isinstance(part, str) else part.get("text") for part in given.content)
    return given.model_copy(update={"content": "\n".join(part for part in parts if part)})


def _forget(call: asyncio.Future[Any]) -> None:
    if not call.cancelled():
        call.exception()  # or asyncio says that nobody asked for it
