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

from stellwerk.errors import ConfigurationError

T = TypeVar("T")

_GRACE = 1.0  # seconds that a cancelled call gets to clear up


class ToolTimeoutError(Exception):
    """A call did not end in the time allowed."""


class ToolOutputError(Exception):
    """A call gave something that is no output for a model."""


class LimitedTool(BaseTool):
    """Another tool, of which only `invoke` and `ainvoke` are used.

    Args:
        inner: the tool.
        seconds: for each call; None for no limit.
    """

    inner: BaseTool
    seconds: float | None

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Call the tool.

        Raises:
            ToolTimeoutError: if it does not end in time; it goes on in its thread, and nobody hears of it.
            ToolOutputError: if it gives a command for the graph.
            ConfigurationError: if it is async only.
        """
        if isinstance(self.inner, StructuredTool) and self.inner.func is None:
            raise self._only_async()
        work = partial(self.inner.invoke, input, config, **kwargs)
        try:
            if self.seconds is None:
                return _message(work())
            call = in_thread(work)
            if not wait([call], self.seconds).done:
                raise ToolTimeoutError
            return _message(call.result())
        except NotImplementedError as error:
            if isinstance(self.inner, StructuredTool) or _is_sync(self.inner):
                raise  # the tool's own
            raise self._only_async() from error

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Call the tool; as `invoke`, but an async tool is cancelled after its time."""
        if _is_sync(self.inner):
            # Not the loop's own threads: there are few, and a loop that ends waits for them.
            threaded = in_thread(partial(self.inner.invoke, input, config, **kwargs))
            call: asyncio.Future[Any] = asyncio.wrap_future(threaded)
        else:
            call = asyncio.ensure_future(self.inner.ainvoke(input, config, **kwargs))
        try:
            done, _ = await asyncio.wait([call], timeout=self.seconds)
            if not done:
                raise ToolTimeoutError
        except BaseException:
            call.add_done_callback(_forget)
            call.cancel()
            await asyncio.wait([call], timeout=_GRACE)
            raise
        return _message(call.result())

    def _only_async(self) -> ConfigurationError:
        return ConfigurationError(
            f"tool {self.name!r} does not run in a sync graph (it is async only); "
            "use ainvoke or astream, or give the tool a sync function"
        )

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("use invoke")


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own, which keeps no process from ending."""
    future: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            done = context.run(work)
        except BaseException as error:
            outcome = partial(future.set_exception, error)
        else:
            outcome = partial(future.set_result, done)
        if future.set_running_or_notify_cancel():
            outcome()

    threading.Thread(target=run, name="tool", daemon=True).start()
    return future


def _is_sync(tool: BaseTool) -> bool:
    if isinstance(tool, StructuredTool):
        return tool.coroutine is None
    own = type(tool)
    return own._arun is BaseTool._arun and own.ainvoke is BaseTool.ainvoke


def _message(given: Any) -> ToolMessage:
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
