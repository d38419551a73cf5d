"""The two servers as processes: started, killed, started again, and what their logs say."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_UP = 60.0  # seconds


@dataclass(frozen=True)
class Served:
    """One request, as its server saw it; `end` is None where the server was killed first."""

    server: str
    request: str
    job: str
    begin: float
    end: float
    how: str


class ServerProcess:
    """A server that can be killed and started again on its port."""

    def __init__(self, name: str, folder: Path, seed: int, options: dict[str, float]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.name, self.seed, self.options = name, seed, options
        self.log = folder / f"{name}.jsonl"
        self.kills: list[float] = []
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: if it does not come up.
        """
        own = {"name": self.name, "port": self.port, "log": self.log, "seed": self.seed, **self.options}
        arguments = [f"--{key}={value}" for key, value in own.items()]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.soak.server", *arguments
        )
        end = time.monotonic() + _UP
        while time.monotonic() < end:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise RuntimeError(f"server {self.name} is not up after {_UP:.0f} s")

    async def kill(self) -> None:
        """As `kill -9`."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            self.kills.append(time.monotonic())

    def events(self) -> Iterator[dict[str, Any]]:
        """Its log."""
        if self.log.exists():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)

    def served(self) -> list[Served]:
        """Every request that it ever read."""
        begun: dict[str, dict[str, Any]] = {}
        ended: dict[str, dict[str, Any]] = {}
        for event in self.events():
            if event["event"] == "begin":
                begun[event["request"]] = event
            elif event["event"] == "end":
                ended[event["request"]] = event
        served = []
        for request, begin in begun.items():
            killed = min((at for at in self.kills if at >= begin["at"]), default=time.monotonic())
            end = ended.get(request, {"at": killed, "how": "killed"})
            served.append(Served(self.name, request, begin["job"], begin["at"], end["at"], end["how"]))
        return served

    @property
    def peak(self) -> int:
        """The most requests that it ever had at once."""
        return max((event["running"] for event in self.events() if event["event"] == "begin"), default=0)
