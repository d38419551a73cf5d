"""A loopback chat server that does to each request what a test says, and counts how many it has at once.

A request counts from when it was read to just before its answer is sent, or to when the client hangs up. One
event loop serves all connections, so the count is exact.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]

WAIT = 20.0  # seconds after which a test that waits has failed


@dataclass(frozen=True)
class Does:
    """What becomes of a request.

    `after` is in seconds; `cut` is the share of the answer that is sent before the connection ends; `drip`
    sends a byte of the body every so many seconds; `hang` never answers; `drop` hangs up at once; `until`
    holds the answer back.
    """

    text: str = "ok"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    raw: bytes | None = None
    cut: float = 1.0
    drip: float = 0.0
    hang: bool = False
    drop: bool = False
    until: Future[None] | None = None


Script = Callable[[int, Body], Does]
"""Gets the number of the request, from 0, and its body."""


class FaultyServer:
    """What it was asked, and how many requests it had at once."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[Body] = []
        self.running = 0
        self.peak = 0
        self.metrics = ""
        self.metrics_read = 0
        self.port = 0
        self.transports: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._came = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> int:
        return len(self.bodies)

    def wait_for(self, requests: int) -> None:
        """Return once it has had so many requests."""
        with self._came:
            assert self._came.wait_for(lambda: self.requests >= requests, WAIT), self.requests

    def wait_idle(self) -> None:
        """Return once it has none left."""
        with self._came:
            assert self._came.wait_for(lambda: not self.running, WAIT), self.running

    def begin(self, body: Body) -> int:
        with self._came:
            self.bodies.append(body)
            self.running += 1
            self.peak = max(self.peak, self.running)
            self._came.notify_all()
            return len(self.bodies) - 1

    def end(self) -> None:
        with self._came:
            self.running -= 1
            self._came.notify_all()


class _Connection(asyncio.Protocol):
    def __init__(self, server: FaultyServer) -> None:
        self._server = server
        self._read = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        assert self._transport is not None
        if head.startswith(b"GET"):
            self._server.metrics_read += 1
            self._read = b""
            text = self._server.metrics.encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
            return
        length = int(re.findall(rb"(?i)content-length: *(\d+)", head)[0])
        if len(body) < length:
            return
        self._read = b""
        number = self._server.begin(json.loads(body))
        does = self._server.script(number, json.loads(body))
        self._counted = True
        self._task = asyncio.get_running_loop().create_task(self._do(does))
        self._server.tasks.add(self._task)
        self._task.add_done_callback(self._server.tasks.discard)

    def eof_received(self) -> None:
        self._hung_up()

    def connection_lost(self, error: Exception | None) -> None:
        assert self._transport is not None
        self._server.transports.discard(self._transport)
        self._hung_up()

    def _hung_up(self) -> None:
        self._count_off()
        if self._task is not None:
            self._task.cancel()

    def _count_off(self) -> None:
        if self._counted:
            self._counted = False
            self._server.end()

    async def _do(self, does: Does) -> None:
        assert self._transport is not None
        if does.drop:
            self._count_off()
            self._transport.close()
            return
        if does.hang:
            await asyncio.Event().wait()
        if does.until is not None:
            await asyncio.shield(asyncio.wrap_future(does.until))
        await asyncio.sleep(does.after)
        data = _answer(does)
        if does.drip:
            head, end, data = data.partition(b"\r\n\r\n")
            self._transport.write(head + end)
            for byte in data:
                self._transport.write(bytes([byte]))
                await asyncio.sleep(does.drip)
        self._count_off()
        self._transport.write(data[: int(len(data) * does.cut)])
        if does.cut < 1 or does.raw is not None:
            self._transport.close()


def _answer(does: Does) -> bytes:
    if does.raw is not None:
        return does.raw
    message = {"role": "assistant", "content": does.text}
    body: Any = {"error": {"message": does.text}}
    if does.status == 200:
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **does.headers}
    lines = [f"HTTP/1.1 {does.status} Such", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@contextmanager
def faulty(script: Script, port: int = 0) -> Iterator[FaultyServer]:
    """Serve until the block ends."""
    server = FaultyServer(script)
    up: threading.Event = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", port, backlog=256)
        server.port = listening.sockets[0].getsockname()[1]
        up.set()
        await over.wait()
        listening.close()
        for _ in range(10):  # connections that are being accepted have a socket, but no transport yet
            await asyncio.sleep(0)
        left = [*server.tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for transport in [*server.transports]:
            transport.abort()
        for _ in range(10):
            await asyncio.sleep(0)

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(WAIT)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(WAIT)


def always(does: Does) -> Script:
    return lambda number, body: does


def first(*does: Does, then: Does | None = None) -> Script:
    """What becomes of the first requests, and of those that follow."""
    return lambda number, body: does[number] if number < len(does) else then or Does()


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
