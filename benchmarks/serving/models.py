"""The simulated model server, as a process of its own: each step takes as long as its prompt says.

    python -m benchmarks.serving.models

prints the port that it listens on. Held steps are answered at `GET /release`; `GET /calls` counts the steps
that it was asked for.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.scheduling import server
from benchmarks.serving.jobs import HELD


class Connection(server.Connection):
    """One connection."""

    calls = 0
    held: list[tuple[Connection, dict[str, Any] | None]] = []  # noqa: RUF012  # of all connections

    def data_received(self, data: bytes) -> None:
        if not self._read and data.startswith(b"GET "):
            self._show(data.split()[1].decode())
        else:
            super().data_received(data)

    def asked(self, body: dict[str, Any]) -> None:
        Connection.calls += 1
        seconds, message = server.reply(body)
        if seconds >= HELD:
            Connection.held.append((self, message))
        else:
            asyncio.get_running_loop().call_later(seconds, self._send, message)

    def _show(self, path: str) -> None:
        found: object = None
        if path == "/calls":
            found = Connection.calls
        elif path == "/release":
            found = len(Connection.held)
            while Connection.held:
                waiting, message = Connection.held.pop()
                waiting._send(message)
        data = json.dumps(found).encode()
        status = "404 Not Found" if found is None else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        assert self._transport is not None
        self._transport.write(head.encode() + data)


@contextmanager
def simulated() -> Iterator[str]:
    """The server's root URL, for as long as it runs.

    Raises:
        RuntimeError: if it does not come up.
    """
    process = subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not (port := process.stdout.readline().strip()):
            raise RuntimeError(f"the simulated server ended with {process.wait()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


async def serve() -> None:
    """Serve until killed."""
    made = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(made.sockets[0].getsockname()[1], flush=True)
    async with made:
        await made.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
