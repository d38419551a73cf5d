"""The clients of a server, in a process of their own: each task is a thread, and a run on it.

python -m benchmarks.serving.client --url http://... --models http://... --load '{...}'
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from benchmarks.scheduling.plans import DrawnPlan
from benchmarks.serving.arrivals import child
from benchmarks.serving.jobs import body, problem_of

_IDLE = 2.0  # seconds for which a connection is used again; the server closes it after 5


class Clients:
    """Take turns with the servers, if there are several."""

    def __init__(self, client: httpx.AsyncClient, urls: Iterator[str]) -> None:
        self.silence = 0.0
        self._client = client
        self._urls = urls

    async def task(self, plan: DrawnPlan) -> str | None:
        """Make a thread, do a task on it."""
        found = await self._client.post(await self._runs(), json=body(plan))
        if found.status_code != 200:
            return f"{found.status_code}: {found.text[:300]}"
        return _problem(plan, found.json())

    async def stream(self, plan: DrawnPlan, opened: Callable[[], None]) -> str | None:
        """The same, with the events of the run."""
        name, last, told = "", dict[str, Any](), time.monotonic()
        async with self._client.stream("POST", f"{await self._runs()}/stream", json=body(plan)) as response:
            if response.status_code != 200:
                return f"{response.status_code}: {(await response.aread())[:300]!r}"
            async for line in response.aiter_lines():
                self.silence = max(self.silence, time.monotonic() - told)
                told = time.monotonic()
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    last = json.loads(line.removeprefix("data: "))
                    if name == "progress" and "attempt" in last["message"]:  # which waits for its model now
                        opened()
        return _problem(plan, last) if name == "values" else f"the stream ended with {name}: {last}"

    async def _runs(self) -> str:
        url = next(self._urls)
        made = await self._client.post(f"{url}/threads")
        if made.status_code != 201:
            raise RuntimeError(f"no thread: {made.status_code}: {made.text[:300]}")
        return f"{url}/threads/{made.json()['id']}/runs"


def _problem(plan: DrawnPlan, output: dict[str, Any]) -> str | None:
    if output.get("status") != "done":
        return f"it is {output.get('status')}: {output.get('failure')}"
    return problem_of(plan, output)


@asynccontextmanager
async def clients(arguments: argparse.Namespace) -> AsyncIterator[Clients]:
    """With connections to these servers."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=500, keepalive_expiry=_IDLE)
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as client:
        yield Clients(client, itertools.cycle(arguments.url))


if __name__ == "__main__":
    child(clients)
