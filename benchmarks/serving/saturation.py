"""Where servers are full: tasks arrive at a rising rate, until they are not done as fast as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.arrivals import Load
from benchmarks.serving.jobs import CALLS
from benchmarks.serving.measure import Measured, measured
from benchmarks.serving.place import Place, serving
from benchmarks.serving.profile import Profile, profiled
from benchmarks.statistics import quantile

THINK = 0.1  # seconds that a model takes here, so that not thousands of tasks are on their way
KEPT_UP = 0.95  # share of the tasks that were done in the time in which they arrived
_WARM = 2.0  # seconds
_UP = 3.0  # seconds until the process that lets tasks arrive is up


@dataclass(frozen=True)
class Stage:
    """One rate.

    Args:
        servers: how many processes served.
        rate: tasks that arrived a second.
        done: tasks that were done a second, while others arrived.
        p50: seconds that a task took beyond what its models did.
        p99: the same.
        cores: that the servers kept busy.
        machine: cores of the machine that were busy, with simulated models, clients and all others.
        errors: tasks that failed.
        load_average: of the machine.
    """

    servers: int
    rate: float
    done: float
    p50: float
    p99: float
    cores: float
    machine: float
    errors: int
    load_average: float

    @property
    def kept_up(self) -> bool:
        """Whether tasks were done as they came."""
        return self.done >= KEPT_UP * self.rate


async def stages(
    place: Place, rates: Sequence[float], seconds: float, count: int, say: Callable[[str], None]
) -> list[Stage]:
    """Measure rate after rate, up to the first at which so many servers do not keep up."""
    found: list[Stage] = []
    async with serving(place, count) as servers:
        for rate in rates:
            load = _load(rate, seconds)
            stage = stage_of(await measured(place, load, servers, every=_every(seconds)), count)
            found.append(stage)
            say(f"{count} processes, {rate:g} a second: {stage.done:.1f} done, p99 {stage.p99 * 1e3:.0f} ms")
            if not stage.kept_up:
                break
    return found


async def full(place: Place, rate: float, seconds: float) -> Profile | None:
    """Where the time of one server goes at a rate; apart from what is measured, as looking slows it down."""
    async with serving(place) as servers:
        bearing = asyncio.create_task(measured(place, _load(rate, seconds), servers, every=_every(seconds)))
        await asyncio.sleep(_WARM + _UP)
        profile = await profiled(servers[0].pid, seconds / 2, place.folder / "stacks")
        await bearing
    return profile


def _load(rate: float, seconds: float) -> Load:
    return Load(rate, seconds, THINK, warm=_WARM, even=True)


def _every(seconds: float) -> float:
    return min(1.0, seconds / 4)


def stage_of(found: Measured, count: int) -> Stage:
    """What a measurement says."""
    load, made = found.load, found.borne.made
    took = sorted(each.seconds - CALLS * load.think for each in made)
    in_time = sum(1 for each in made if each.due + each.seconds <= load.seconds + CALLS * load.think)
    first, last = found.samples[0], found.samples[-1]
    over = max(last.at - first.at, 1e-9)
    return Stage(
        servers=count,
        rate=len(made) / load.seconds,
        done=in_time / load.seconds,
        p50=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        cores=(last.cpu - first.cpu) / over,
        machine=(last.busy - first.busy) / over,
        errors=sum(1 for each in made if each.problem is not None),
        load_average=found.load_average,
    )
