"""The tasks: chains of three calls with a given plan, and runs that are held open until they are let go."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from benchmarks.scheduling.plans import DrawnPlan, Step, check
from benchmarks.scheduling.systems.ours import answers_of

CALLS = 3  # of a task
HELD = 86_400.0  # seconds that a held step says; the simulated server waits until it is told


def chain(number: int, seconds: float) -> DrawnPlan:
    """The plan of a task: three steps, each of which needs the one before."""
    names = [f"t{number}-{step}" for step in range(CALLS)]
    steps = [Step(name, tuple(names[max(0, at - 1) : at]), seconds) for at, name in enumerate(names)]
    return DrawnPlan(f"task {number}", tuple(steps))


def held(number: int) -> DrawnPlan:
    """The plan of a run that stays open: one step, which is answered when the server lets all of them go."""
    return DrawnPlan(f"stream {number}", (Step(f"held{number}", (), HELD),))


def body(plan: DrawnPlan) -> dict[str, Any]:
    """The task as the graph and the server take it: several requests, whose answers no model merges."""
    requests = [f"Do step {step.id}." for step in plan.steps]
    return {"task": "\n".join([*requests, "Say what came of it."]), "plan": plan.as_input()}


def problem_of(plan: DrawnPlan, output: Mapping[str, Any]) -> str | None:
    """What is wrong with what came of a run; None if every answer is right, and its own."""
    try:
        check(plan, answers_of(output))
    except (RuntimeError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def moments(rate: float, seconds: float, *, seed: int, even: bool) -> list[float]:
    """When tasks arrive, in seconds from the first moment: evenly, or as a Poisson process does."""
    if even:
        return [number / rate for number in range(round(rate * seconds))]
    chance, at, found = random.Random(seed), 0.0, list[float]()
    while (at := at + chance.expovariate(rate)) < seconds:
        found.append(at)
    return found
