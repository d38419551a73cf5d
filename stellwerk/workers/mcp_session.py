"""A session with an MCP server: opened when it is needed, and opened anew after the server went away."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from stellwerk.errors import OutcomeUnknownError
from stellwerk.workers.mcp_http import watch
from stellwerk.workers.mcp_server import McpServer

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.types import CallToolResult, ListToolsResult

_TAIL = 2_000  # characters of what a server said on its standard error
_CLOSE = 10.0  # seconds
_GRACE = 0.2  # seconds for an answer that came with the end of the connection
_WENT_AWAY = "went away while {}; what it was doing may have been done"


class McpConnectionError(ConnectionError):
    """A server did not start, went away, or did not answer in time."""


class McpInterruptedError(McpConnectionError, OutcomeUnknownError):
    """A server went away, or fell silent, in the middle of a call, which may have been made."""


class McpSession:
    """What langchain-mcp-adapters takes for a session. All of it runs on one event loop.

    Args:
        server: how it is reached.
        keep: one session for all calls, or a new one for each.
        start_timeout: seconds for a session to open.
        call_timeout: seconds for a call.
    """

    def __init__(self, server: McpServer, *, keep: bool, start_timeout: float, call_timeout: float) -> None:
        self._server = server
        self._keep = keep
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._opening = asyncio.Lock()
        self._kept: _Open | None = None

    async def list_tools(self, cursor: str | None = None) -> ListToolsResult:
        """The tools of the server; a page of them.

        Raises:
            McpConnectionError: if the server cannot be reached.
        """
        from mcp.types import PaginatedRequestParams

        opened = await self._open()
        try:
            listing = opened.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            tools: ListToolsResult = await self._answer(
                opened, listing, self._start_timeout, "listing its tools"
            )
            return tools
        finally:
            await self._done(opened)

    async def call_tool(self, name: str, arguments: dict[str, Any], **kwargs: Any) -> CallToolResult:
        """Call a tool, once: a call that broke off may have been made.

        Raises:
            McpInterruptedError: if the server goes away, or does not answer in time.
            McpConnectionError: if it cannot be reached.
        """
        from mcp.types import TextContent

        opened = await self._open()
        try:
            calling = opened.session.call_tool(name, arguments, **kwargs)
            result: CallToolResult = await self._answer(
                opened, calling, self._call_timeout, f"calling {name}"
            )
        finally:
            await self._done(opened)
        if result.isError:
            for part in result.content:
                if isinstance(part, TextContent):  # a server may quote the key that it was refused with
                    part.text = self._server.masked(part.text)
        return result

    async def close(self) -> None:
        """End the session, and with it the server's process."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def _open(self) -> _Open:
        if self._keep:
            async with self._opening:
                if self._kept is None or self._kept.gone:
                    self._kept = await self._opened()
                opened = self._kept
        else:
            opened = await self._opened()
        opened.calls += 1
        return opened

    async def _opened(self) -> _Open:
        opened = _Open(self._server)
        try:
            async with asyncio.timeout(self._start_timeout):
                await opened.start()
            return opened
        except TimeoutError:
            why = f"did not answer within {self._start_timeout:g} seconds"
        except Exception as error:
            why = f"cannot be reached ({_innermost(error)})"
        except BaseException:
            await opened.close()
            raise
        await opened.close()
        # What the server said goes to whoever runs it, and not to a model that is told of the error.
        lost = self._lost(why)
        if said := opened.said():
            lost.add_note(self._server.masked(f"its standard error ends: {said}"))
        raise lost

    async def _done(self, opened: _Open) -> None:
        opened.calls -= 1
        if opened.gone and self._kept is opened:
            self._kept = None  # the next call gets a new one; other calls may still be waiting in this one
        if (opened.gone or not self._keep) and not opened.calls:
            await opened.close()

    async def _answer(self, opened: _Open, asking: Any, seconds: float, what: str) -> Any:
        from mcp import McpError
        from mcp.types import CONNECTION_CLOSED

        answer = asyncio.ensure_future(asking)
        why = f"did not answer within {seconds:g} seconds while {what}; it may still be doing it"
        try:
            waited = [answer, opened.keeper, opened.broken]
            done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if done and answer not in done:
                why = _WENT_AWAY.format(what)
                await asyncio.wait([answer], timeout=_GRACE)
            if answer.done():
                return answer.result()
        except McpError as error:
            if error.error.code != CONNECTION_CLOSED:
                raise self._lost(f"failed while {what}: {error}") from None
            why = _WENT_AWAY.format(what)
        except Exception as error:
            why = f"failed while {what} ({_innermost(error)}); what it was doing may have been done"
        finally:
            if not answer.done():
                answer.cancel()
                with suppress(BaseException):
                    await answer
        opened.gone = True
        raise McpInterruptedError(self._said(why))

    def _lost(self, why: str) -> McpConnectionError:
        return McpConnectionError(self._said(why))

    def _said(self, why: str) -> str:
        return self._server.masked(f"MCP server {self._server.name!r} {why}")


class _Open:
    """An open session. What it stands on has to be opened and closed by one and the same task."""

    def __init__(self, server: McpServer) -> None:
        self.gone = False
        self.calls = 0
        self._server = server
        self._tail = _Tail()
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[ClientSession] = loop.create_future()
        self.broken: asyncio.Future[None] = loop.create_future()
        self.keeper: asyncio.Task[None] = asyncio.create_task(self._keep())

    @property
    def session(self) -> ClientSession:
        return self._ready.result()

    async def start(self) -> None:
        waited: list[asyncio.Future[Any]] = [self._ready, self.keeper]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            await self.keeper  # raises what went wrong
            raise McpConnectionError("it ended")

    async def close(self) -> None:
        self.gone = True
        self._stop.set()
        if self._ready.done():
            await asyncio.wait([self.keeper], timeout=_CLOSE)
        if not self.keeper.done():
            self.keeper.cancel()
            await asyncio.wait([self.keeper], timeout=_CLOSE)
        if self.keeper.done() and not self.keeper.cancelled():
            self.keeper.exception()  # it has been told of, or comes from a server that is gone anyway
        if not self._ready.done():
            self._ready.cancel()
        await self._tail.close()

    def said(self) -> str:
        return self._tail.text()

    async def _keep(self) -> None:
        async with _connected(self._server, self._tail.file, self._break) as session:
            await session.initialize()
            self._ready.set_result(session)
            await self._stop.wait()

    def _break(self) -> None:
        if self._ready.done() and not self.broken.done():
            self.broken.set_result(None)


@asynccontextmanager
async def _connected(
    server: McpServer, errors: TextIO, broken: Callable[[], None]
) -> AsyncIterator[ClientSession]:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async with AsyncExitStack() as stack:
        if server.command is not None:
            parameters = StdioServerParameters(
                command=server.command,
                args=list(server.args),
                env=None if server.env is None else dict(server.env),
                cwd=server.cwd,
            )
            read, write = await stack.enter_async_context(stdio_client(parameters, errlog=errors))
        else:
            assert server.url is not None
            client = await stack.enter_async_context(create_mcp_http_client(headers=dict(server.headers)))
            client.event_hooks["response"].append(watch(broken))
            streams = streamable_http_client(server.url, http_client=client)
            read, write, _ = await stack.enter_async_context(streams)
        yield await stack.enter_async_context(ClientSession(read, write))


class _Tail:
    """The last that was written to a file, which is drained so that whoever writes is never held up."""

    def __init__(self) -> None:
        self._read, written = os.pipe()
        self.file: TextIO = os.fdopen(written, "w")
        self._kept = b""
        self._thread = threading.Thread(target=self._drain, name="mcp-stderr", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with os.fdopen(self._read, "rb", buffering=0) as source:
            while chunk := source.read(65_536):
                self._kept = (self._kept + chunk)[-_TAIL:]

    def text(self) -> str:
        text = self._kept.decode(errors="replace")
        if len(self._kept) == _TAIL:  # half a secret at its beginning would not be recognised
            text = text.partition("\n")[2]
        return text.strip()

    async def close(self) -> None:
        self.file.close()
        await asyncio.to_thread(self._thread.join, _GRACE)  # what was written last


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
