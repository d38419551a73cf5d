"""HTTP clients for the OpenAI client: connections for each event loop, and a limit for a whole answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any


def limited_client() -> Any:
    """An HTTP client whose read timeout holds for the answer as a whole, also for a stream.

    httpx starts it anew with each piece, so that a server that sends a byte now and then is never given up.
    """
    from openai import DefaultHttpxClient

    class Client(DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            limit = (request.extensions.get("timeout") or {}).get("read")
            response = super().send(request, stream=True, **options)
            if limit is not None:
                response.iter_raw = _limited(response.iter_raw, limit)  # type: ignore[method-assign]
            if stream:
                return response
            try:
                content = b"".join(response.iter_raw())
            finally:
                response.close()
            return type(response)(
                response.status_code,
                headers=response.headers,
                content=content,
                request=request,
                extensions=response.extensions,
                history=response.history,
            )

        def __del__(self) -> None:
            with suppress(Exception):
                self.close()

    return Client()


def _limited(pieces: Callable[..., Iterator[bytes]], seconds: float) -> Callable[..., Iterator[bytes]]:
    end = time.monotonic() + seconds

    def limited(*args: Any, **options: Any) -> Iterator[bytes]:
        for piece in pieces(*args, **options):
            yield piece
            if time.monotonic() > end:
                raise TimeoutError(f"the answer was not complete after {seconds:.1f} s")

    return limited


def client_per_loop() -> Any:
    """An HTTP client with connections of its own for each event loop.

    A connection belongs to the loop that opened it. With one pool for all of them, the OpenAI client's
    habit, the second `asyncio.run` of a program fails with 'Event loop is closed'.
    """
    from openai import DefaultAsyncHttpxClient

    clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None]]] = {}

    async def close_with(loop: asyncio.AbstractEventLoop, client: Any) -> AsyncGenerator[None]:
        try:
            yield  # until the loop, at its end, closes its generators
        finally:
            clients.pop(loop, None)
            await client.aclose()

    class Client(DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            loop = asyncio.get_running_loop()
            if loop not in clients:
                for old in [old for old in list(clients) if old.is_closed()]:
                    clients.pop(old, None)
                client = DefaultAsyncHttpxClient()
                closing = close_with(loop, client)
                clients[loop] = client, closing
                await anext(closing)
            return await clients[loop][0].send(request, **options)

    return Client()
