"""Notices that an MCP server behind a URL broke off while it answered.

The `mcp` package logs that and waits on, until the call's time is up (1.30).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

_EVENT_ID = re.compile(rb"^id:", re.MULTILINE)


def watch(broken: Callable[[], object]) -> Callable[[httpx.Response], Awaitable[None]]:
    """A hook for responses; `broken` is called when an answer ends that cannot be gone on with."""

    async def hook(response: httpx.Response) -> None:
        if response.request.method == "POST" and isinstance(response.stream, httpx.AsyncByteStream):
            streamed = response.headers.get("content-type", "").startswith("text/event-stream")
            response.stream = _Watched(response.stream, broken, streamed)

    return hook


class _Watched(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, broken: Callable[[], object], streamed: bool) -> None:
        self._stream = stream
        self._broken = broken
        self._streamed = streamed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        resumable = False
        try:
            async for chunk in self._stream:
                resumable = resumable or _EVENT_ID.search(chunk) is not None
                yield chunk
        except httpx.TransportError:
            if not resumable:
                self._broken()
            raise
        # Of an answer that is streamed, nobody reads on after the event that ends it.
        if self._streamed and not resumable:
            self._broken()

    async def aclose(self) -> None:
        await self._stream.aclose()
