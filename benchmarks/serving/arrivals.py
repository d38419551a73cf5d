"""An open loop: tasks arrive when they are due, whether or not those before are done."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import httpx

from benchmarks.scheduling.plans import DrawnPlan
from benchmarks.serving.jobs import chain, held, moments

_WARM = 1_000_000  # number of the first task that is not counted
_OPEN = 25.0  # streams that are opened a second


@dataclass(frozen=True)
class Load:
    """What is borne.

    Args:
        rate: tasks that arrive a second.
        seconds: for which they do.
        think: seconds that a model takes.
        streams: runs that are held open meanwhile.
        warm: seconds for which tasks arrive before that are not counted.
        even: whether they arrive evenly, rather than as a Poisson process does.
        seed: of the moments.
    """

    rate: float
    seconds: float
    think: float = 2.0
    streams: int = 0
    warm: float = 5.0
    even: bool = False
    seed: int = 1


@dataclass(frozen=True)
class Made:
    """One task: when it was due, how much later it was begun, and how long after it was due it was done."""

    due: float
    late: float
    seconds: float
    problem: str | None


@dataclass(frozen=True)
class Borne:
    """What came of it.

    Args:
        made: each task.
        streams: what was wrong with those that were held open; None for each that was right.
        silence: the longest of a stream, in seconds.
    """

    made: list[Made]
    streams: list[str | None]
    silence: float

    @classmethod
    def parse(cls, told: str) -> Borne:
        """From what `to_json` gave."""
        values = json.loads(told)
        return cls([Made(**each) for each in values["made"]], values["streams"], values["silence"])

    def to_json(self) -> str:
        """In one line."""
        return json.dumps(asdict(self))


class Arm(Protocol):
    """Who does the tasks."""

    silence: float

    async def task(self, plan: DrawnPlan) -> str | None:
        """Do one to its end; what is wrong with the answer."""
        ...

    async def stream(self, plan: DrawnPlan, opened: Callable[[], None]) -> str | None:
        """The same for one that is held open; `opened` is called when it runs."""
        ...


async def bear(load: Load, arm: Arm, models: str, say: Callable[[str], None]) -> Borne:
    """Let the tasks arrive, and all end; `say` is told when the counted ones begin and have arrived."""
    warm = moments(load.rate, load.warm, seed=load.seed + 1, even=load.even)
    for made in await asyncio.gather(*await _arrive(warm, load.think, arm, _WARM)):
        if made.problem is not None:
            raise RuntimeError(f"a task before the measurement failed: {made.problem}")
    streams = await _opened(load.streams, arm)
    gc.collect()
    say("arriving")
    due = moments(load.rate, load.seconds, seed=load.seed, even=load.even)
    running = await _arrive(due, load.think, arm, 0)
    say("arrived")
    counted = await asyncio.gather(*running)
    say("done")
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.get(f"{models}/release")).raise_for_status()
    return Borne(list(counted), list(await asyncio.gather(*streams)), arm.silence)


async def _opened(count: int, arm: Arm) -> list[asyncio.Task[str | None]]:
    loop, ready = asyncio.get_running_loop(), asyncio.Semaphore(0)
    begun, streams = loop.time(), []
    for number in range(count):
        await asyncio.sleep(begun + number / _OPEN - loop.time())
        streams.append(asyncio.create_task(_told(arm.stream(held(number), ready.release))))
    for _ in range(count):
        opening = asyncio.create_task(ready.acquire())
        await asyncio.wait([opening, *streams], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            ended = next(stream for stream in streams if stream.done())
            raise RuntimeError(f"a stream did not stay open: {ended.result()}")
    return streams


async def _arrive(due: Sequence[float], think: float, arm: Arm, first: int) -> list[asyncio.Task[Made]]:
    loop, running = asyncio.get_running_loop(), []
    begun = loop.time()
    for number, at in enumerate(due, first):
        await asyncio.sleep(max(0.0, begun + at - loop.time()))
        running.append(asyncio.create_task(_made(arm, chain(number, think), at, begun)))
    return running


async def _made(arm: Arm, plan: DrawnPlan, due: float, begun: float) -> Made:
    loop = asyncio.get_running_loop()
    late = loop.time() - begun - due
    problem = await _told(arm.task(plan))
    return Made(due, late, loop.time() - begun - due, problem)


async def _told(work: Awaitable[str | None]) -> str | None:
    try:
        return await work
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]


def child(start: Callable[[argparse.Namespace], Any]) -> None:
    """The main function of a process that bears a load, and says so on standard output.

    Args:
        start: an async context manager with the arm.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", required=True, help="as JSON")
    parser.add_argument("--models", required=True, help="root URL of the simulated model server")
    parser.add_argument("--url", nargs="*", default=[], help="of the servers")
    arguments = parser.parse_args()

    async def run() -> None:
        async with start(arguments) as arm:
            load = Load(**json.loads(arguments.load))
            borne = await bear(load, arm, arguments.models, lambda text: print(text, flush=True))
        print(borne.to_json(), flush=True)

    began = time.monotonic()
    asyncio.run(run())
    print(f"{time.monotonic() - began:.1f} s", flush=True)
