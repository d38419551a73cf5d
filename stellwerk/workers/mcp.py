"""Tools of MCP servers, for sync and async graphs alike.

The sessions run on an event loop in a thread of their own. So a session outlives the loop of one run, a
sync graph can call tools that exist as coroutines only, and two loops can share a server.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, TypeVar

from langchain_core.tools import BaseTool, StructuredTool

from stellwerk.deadline import current_deadline
from stellwerk.errors import ConfigurationError, MissingExtraError
from stellwerk.workers.mcp_server import McpServer
from stellwerk.workers.mcp_session import McpConnectionError, McpSession

T = TypeVar("T")

_UNUSABLE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_GRACE = 0.1  # seconds; whoever set the deadline is to be the first to give up


def mcp_tools(
    servers: Mapping[str, Mapping[str, Any]],
    *,
    session: Literal["kept", "call"] = "kept",
    start_timeout: float = 30.0,
    call_timeout: float = 120.0,
) -> McpTools:
    """The tools of MCP servers, in a `with` or `async with` block.

        with mcp_tools({"files": {"command": "python", "args": ["server.py"]}}) as tools:
            worker = create_worker("find", output=Found, prompt="Find the file.", tools=tools)

    Args:
        servers: by name. A server that is started: `command`, `args`, `env`, `cwd`. One behind a URL that
            speaks streamable HTTP: `url`, `headers`. `tools` names those to take, all if absent. `${NAME}` in
            `env` and `headers` is taken from the environment; keys are never shown.
        session: one session with each server for the whole block, or a new one for each call, which starts a
            process each time.
        start_timeout: seconds that a server has to answer at first.
        call_timeout: seconds for a call, whatever the worker's `tool_timeout` is. A call that is given up
            sooner is ended then.

    Raises:
        ConfigurationError: if a declaration is wrong; on entering the block, if a server cannot be reached.
        MissingExtraError: on entering the block, if the extra `mcp` is not installed.
    """
    declared = [McpServer.parse(name, server) for name, server in servers.items()]
    for limit, value in (("start_timeout", start_timeout), ("call_timeout", call_timeout)):
        if not value > 0:
            raise ConfigurationError(f"mcp_tools: {limit} is {value}; give seconds above 0")
    if session not in ("kept", "call"):
        raise ConfigurationError(f"mcp_tools: session is {session!r}; give 'kept' or 'call'")
    return McpTools(declared, session == "kept", start_timeout, call_timeout)


class McpTools:
    """Servers that are open for the time of a block. Made by `mcp_tools`."""

    def __init__(
        self, servers: list[McpServer], keep: bool, start_timeout: float, call_timeout: float
    ) -> None:
        self._servers = servers
        self._session = partial(McpSession, keep=keep, start_timeout=start_timeout, call_timeout=call_timeout)
        self._loop: _Loop | None = None
        self._sessions: list[McpSession] = []

    def open(self) -> list[BaseTool]:
        """Open the sessions and return the tools, for a program that has no block to put around them.

        Raises:
            ConfigurationError: if a server cannot be reached, or has not a tool that is asked for.
            MissingExtraError: if the extra `mcp` is not installed.
        """
        self._check_closed()
        try:
            return self._begin().result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the sessions and the servers' processes; their tools fail from then on."""
        if (loop := self._loop) is not None:
            self._loop = None
            loop.submit(self._close()).result()
            loop.stop()

    def __enter__(self) -> list[BaseTool]:
        return self.open()

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> list[BaseTool]:
        self._check_closed()
        try:
            return await asyncio.wrap_future(await asyncio.to_thread(self._begin))
        except BaseException:
            await asyncio.to_thread(self.close)
            raise

    async def __aexit__(self, *raised: object) -> None:
        await asyncio.to_thread(self.close)

    def _check_closed(self) -> None:
        if self._loop is not None:
            raise ConfigurationError("these MCP servers are open already; open them once and share the tools")

    def _begin(self) -> Future[list[BaseTool]]:
        try:
            import langchain_mcp_adapters.tools  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("langchain-mcp-adapters", "mcp") from error
        self._loop = _Loop()
        return self._loop.submit(self._open())

    async def _open(self) -> list[BaseTool]:
        self._sessions = [self._session(server) for server in self._servers]
        try:
            found = await asyncio.gather(
                *(self._tools(*pair) for pair in zip(self._servers, self._sessions, strict=True))
            )
        except McpConnectionError as error:
            raise ConfigurationError("; ".join([str(error), *getattr(error, "__notes__", ())])) from None
        return self._named(found)

    async def _close(self) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions), return_exceptions=True)

    async def _tools(self, server: McpServer, session: McpSession) -> list[StructuredTool]:
        from langchain_mcp_adapters.tools import load_mcp_tools

        like_one: Any = session  # as far as the adapter uses it
        loaded: list[Any] = await load_mcp_tools(like_one, server_name=server.name)
        made: dict[str, StructuredTool] = {tool.name: tool for tool in loaded}
        wanted = made if server.tools is None else server.tools
        for name in wanted:
            if name not in made:
                raise ConfigurationError(
                    f"MCP server {server.name!r} has no tool {name!r}; its tools: {', '.join(made) or 'none'}"
                )
        return [self._bridged(made[name]) for name in wanted]

    def _bridged(self, tool: StructuredTool) -> StructuredTool:
        """A tool for any thread and any event loop."""
        calling: Any = tool.coroutine

        def call(**arguments: Any) -> Any:
            ends, made = current_deadline(), self._submit(tool.name, calling, arguments)
            try:
                return made.result(None if ends is None else ends.left + _GRACE)
            finally:
                made.cancel()  # whoever made the call has given it up

        async def acall(**arguments: Any) -> Any:
            return await asyncio.wrap_future(self._submit(tool.name, calling, arguments))

        described = tool.description.strip() or tool.name
        return tool.model_copy(update={"func": call, "coroutine": acall, "description": described})

    def _submit(
        self, name: str, calling: Callable[..., Coroutine[Any, Any, Any]], arguments: Mapping[str, Any]
    ) -> Future[Any]:
        if self._loop is None:
            raise McpConnectionError(f"the MCP server of {name!r} is closed; use its tools inside the block")
        return self._loop.submit(calling(**arguments))

    def _named(self, found: Sequence[Sequence[StructuredTool]]) -> list[BaseTool]:
        """Names that a chat API takes; where two servers have the same, with the server's in front."""
        usable = [[_UNUSABLE.sub("_", tool.name)[:_LONGEST_NAME] for tool in tools] for tools in found]
        times = Counter(name for names in usable for name in set(names))
        named: list[BaseTool] = []
        for server, tools, names in zip(self._servers, found, usable, strict=True):
            for tool, name in zip(tools, names, strict=True):
                unique = f"{server.name}_{name}"[:_LONGEST_NAME] if times[name] > 1 else name
                named.append(tool.model_copy(update={"name": unique}))
        return named


class _Loop:
    """An event loop in a thread of its own, which keeps no process from ending."""

    def __init__(self) -> None:
        running: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(running,), name="mcp", daemon=True)
        self._thread.start()
        self._loop = running.result()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, running: Future[asyncio.AbstractEventLoop]) -> None:
        async def stay() -> None:
            running.set_result(asyncio.get_running_loop())
            await self._stop.wait()

        asyncio.run(stay())  # which cancels the calls that are still under way
