"""A chat server of the OpenAI kind that fails on purpose, as a process of its own.

    python -m benchmarks.soak.server --port 8001 --log a.jsonl --seed 1

Every request leaves lines in the log, each in one write, so that they outlast `kill -9`. A request counts as
running from when it was read to just before its answer is sent, or to when the client hangs up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import time
from email.utils import formatdate
from typing import Any

from benchmarks.json_requests import JsonRequests

JOB = re.compile(r"Job: (\S+)\nAnswer:")
_OTHERS = re.compile(r'"answer": "([^"]+)"')


class Log:
    """Events of one server, one JSON object a line."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, **event: Any) -> None:
        """Write one event, with the time by the clock that all processes share."""
        os.write(self._file, (json.dumps({"at": time.monotonic(), **event}) + "\n").encode())


class Server(JsonRequests):
    """One connection."""

    running = 0
    served = 0

    def __init__(self, name: str, log: Log, faults: Faults, chance: random.Random, think: float) -> None:
        super().__init__()
        self._name, self._log, self._faults, self._chance, self._think = name, log, faults, chance, think
        self._request: str | None = None
        self._timer: asyncio.TimerHandle | None = None

    def eof_received(self) -> None:
        self._end("gone")

    def connection_lost(self, error: Exception | None) -> None:
        self._end("gone")

    def asked(self, body: dict[str, Any]) -> None:
        prompt = body["messages"][-1]["content"]
        job = JOB.findall(prompt)[-1]
        Server.served += 1
        Server.running += 1
        self._request = f"{self._name}-{os.getpid()}-{Server.served}"
        self._log.write(event="begin", request=self._request, job=job, running=Server.running)
        fault = self._faults.draw(self._chance)
        if fault == "hang":
            return
        think = self._think * self._chance.uniform(0.5, 1.5)
        needed = sorted(_OTHERS.findall(prompt.rpartition("Job: ")[0].rpartition("Answer:")[2]))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(think, self._finish, fault, job, needed)

    def _finish(self, fault: str, job: str, needed: list[str]) -> None:
        request = self._request
        self._end(fault)
        assert self._transport is not None
        if fault == "500":
            self._send("500 Internal Server Error", b'{"error": {"message": "out of order"}}')
        elif fault == "429":
            asked = [b"Retry-After: 1", b"retry-after-ms: 100"]
            asked.append(b"Retry-After: " + formatdate(time.time() + 1, usegmt=True).encode())
            busy = b'{"error": {"message": "too many requests"}}'
            self._send("429 Too Many Requests", busy, self._chance.choice(asked))
        else:
            said = {"answer": "+".join([job, *needed]), "request": request}
            data = json.dumps(_completion(json.dumps(said))).encode()
            if fault == "truncated":
                self._send("200 OK", data, cut=len(data) // 2)
            else:
                self._send("200 OK", data)

    def _end(self, how: str) -> None:
        if self._request is not None:
            Server.running -= 1
            self._log.write(event="end", request=self._request, how=how)
            self._request = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, status: str, data: bytes, *headers: bytes, cut: int | None = None) -> None:
        assert self._transport is not None
        lines = [f"HTTP/1.1 {status}".encode(), b"Content-Type: application/json", *headers]
        lines.append(f"Content-Length: {len(data)}".encode())
        self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + data[:cut])
        if cut is not None:
            self._transport.close()


class Faults:
    """How often a request is not answered as it should be: shares of all requests."""

    def __init__(self, fail: float, hang: float) -> None:
        self.fail, self.hang = fail, hang

    def draw(self, chance: random.Random) -> str:
        """What becomes of the next request: `answered`, or a fault."""
        lot = chance.random()
        if lot < self.hang:
            return "hang"
        return chance.choice(["500", "429", "truncated"]) if lot < self.hang + self.fail else "answered"


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "soak"}
    return {**head, "choices": [choice], "usage": usage}


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until killed."""
    log, chance = Log(arguments.log), random.Random(f"{arguments.seed} {os.getpid()}")
    faults = Faults(arguments.fail, arguments.hang)
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(arguments.name, log, faults, chance, arguments.think),
        "127.0.0.1",
        arguments.port,
        backlog=512,
    )
    log.write(event="up", pid=os.getpid())
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.server")
    parser.add_argument("--name", default="a")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fail", type=float, default=0.1, help="share of requests that fail")
    parser.add_argument("--hang", type=float, default=0.02, help="share of requests never answered")
    parser.add_argument("--think", type=float, default=0.02, help="seconds for an answer")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
