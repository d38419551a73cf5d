"""One measurement: a load, who bears it, and what that takes meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass

import httpx
from sqlalchemy import func, select

from benchmarks.serving.arrivals import Borne, Load
from benchmarks.serving.place import Place, Serving
from benchmarks.serving.samples import Sample, Sampler
from stellwerk.persistence.database import Database
from stellwerk.persistence.schema.runs import runs

_LINE = 1 << 28  # bytes of the longest line that a process says


@dataclass(frozen=True)
class Measured:
    """What came of a load.

    Args:
        borne: by whom, task for task.
        samples: of the servers, or of the process that called the graph, while tasks arrived.
        calls: that the simulated models were asked for by all tasks, those before included.
        runs: that the database has more of than before, by status; none of those that were called in process.
        load_average: of the machine, over a minute, at the end.
    """

    load: Load
    borne: Borne
    samples: list[Sample]
    calls: int
    runs: dict[str, int]
    load_average: float


async def measured(
    place: Place, load: Load, servers: Sequence[Serving] = (), *, every: float = 2.0
) -> Measured:
    """Let a load arrive at servers, or at a process that calls the graph if there are none.

    Raises:
        RuntimeError: if the process that bears it, or that lets it arrive, fails.
    """
    calls, before = await _calls(place), await asyncio.to_thread(_ended, place)
    samples: list[Sample] = []
    told = ""
    async with _child(place, load, servers) as process, asyncio.TaskGroup() as tasks:
        sampler = Sampler(place, [each.pid for each in servers] or [process.pid], servers)
        watching: asyncio.Task[None] | None = None

        async def watch() -> None:
            while True:
                samples.append(await asyncio.to_thread(sampler.look))
                await asyncio.sleep(every)

        async with aclosing(_lines(process)) as lines:
            async for line in lines:
                if line == "arriving":
                    watching = tasks.create_task(watch())
                elif line == "arrived" and watching is not None:
                    watching.cancel()
                elif line.startswith("{"):
                    told = line
        sampler.close()
    if process.returncode or not told:
        raise RuntimeError(f"the process that lets tasks arrive ended with {process.returncode}")
    after = await asyncio.to_thread(_ended, place)
    return Measured(
        load,
        Borne.parse(told),
        samples,
        await _calls(place) - calls,
        dict(after - before),
        os.getloadavg()[0],
    )


@asynccontextmanager
async def _child(
    place: Place, load: Load, servers: Sequence[Serving]
) -> AsyncIterator[asyncio.subprocess.Process]:
    module = "client" if servers else "in_process"
    options = ["--load", json.dumps(asdict(load)), "--models", place.models]
    if servers:
        options += ["--url", *(server.url for server in servers)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.serving.{module}", *options),
        cwd=place.folder,
        env=place.environment,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
    )
    try:
        yield process
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _lines(process: asyncio.subprocess.Process) -> AsyncGenerator[str]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield line.decode().strip()


async def _calls(place: Place) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.get(f"{place.models}/calls")).json())


def _ended(place: Place) -> Counter[str]:
    counting = select(runs.c.status, func.count().label("number")).group_by(runs.c.status)
    with Database.from_url(place.url) as database:
        rows = database.read(lambda c: [(row.status, row.number) for row in c.execute(counting)])
    return Counter(dict(rows))
