"""Random plans: which steps there are, what each needs, and how long a model takes for it."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

WORKER = "step"

_MEDIAN = 0.5  # seconds that a model takes for a step
_SIGMA = math.log(3) / 1.645  # of their logarithm: one step in twenty takes three times the median
_WIDE = 50  # steps at once, from which on the processor would decide in a short plan
_LONG = 10.0  # seconds that the critical path of such a plan has at least

_MARK = re.compile(r"Step (\S+): ([\d.]+) s, needs ([^.]+)\.")
_ANSWERED = re.compile(r'"step": ?"([^"]+)", ?"answer": ?"([^"]+)"')


@dataclass(frozen=True)
class Step:
    """One step, with the seconds that a model takes to answer."""

    id: str
    needs: tuple[str, ...]
    seconds: float

    @property
    def instruction(self) -> str:
        """What a model is told; the simulated one reads in it how long it takes."""
        return f"Step {self.id}: {self.seconds:.6f} s, needs {' '.join(self.needs) or 'nothing'}."

    def answer(self, answers: Mapping[str, str]) -> str:
        """The right answer, which hangs on those to the steps that it needs.

        Raises:
            KeyError: if one of these is missing.
        """
        said = " ".join([self.id, *(answers[name] for name in self.needs)])
        return hashlib.blake2b(said.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True)
class DrawnPlan:
    """Steps in an order in which each comes after those that it needs."""

    name: str
    steps: tuple[Step, ...]

    @cached_property
    def times(self) -> dict[str, tuple[float, float]]:
        """From when to when each step would run if none waited for anything but its inputs, in seconds."""
        times: dict[str, tuple[float, float]] = {}
        for step in self.steps:
            start = max((times[name][1] for name in step.needs), default=0.0)
            times[step.id] = start, start + step.seconds
        return times

    @property
    def critical_path(self) -> float:
        """Seconds of the longest way through the plan."""
        return max(end for _, end in self.times.values())

    @property
    def work(self) -> float:
        """Seconds of all steps together."""
        return sum(step.seconds for step in self.steps)

    @cached_property
    def levels(self) -> list[list[Step]]:
        """The steps by how many stand before them on the way with the most steps."""
        depth: dict[str, int] = {}
        for step in self.steps:
            depth[step.id] = 1 + max((depth[name] for name in step.needs), default=-1)
        levels: list[list[Step]] = [[] for _ in range(max(depth.values()) + 1)]
        for step in self.steps:
            levels[depth[step.id]].append(step)
        return levels

    @property
    def in_levels(self) -> float:
        """Seconds if each level waits for the whole level before it."""
        return sum(max(step.seconds for step in level) for level in self.levels)

    @property
    def most_at_once(self) -> int:
        """The most steps that run at the same time if none waits but for its inputs."""
        changes: Counter[float] = Counter()
        for start, end in self.times.values():
            changes[start] += 1
            changes[end] -= 1
        running = most = 0
        for moment in sorted(changes):
            running += changes[moment]
            most = max(most, running)
        return most

    @cached_property
    def answers(self) -> dict[str, str]:
        """The right answer to each step."""
        answers: dict[str, str] = {}
        for step in self.steps:
            answers[step.id] = step.answer(answers)
        return answers

    def stretched(self, factor: float) -> DrawnPlan:
        """The same plan with longer steps."""
        steps = (replace(step, seconds=round(step.seconds * factor, 6)) for step in self.steps)
        return replace(self, steps=tuple(steps))

    def as_input(self) -> dict[str, Any]:
        """The plan as the orchestrator takes it."""
        return {
            "subtasks": [
                {
                    "id": step.id,
                    "worker": WORKER,
                    "instruction": step.instruction,
                    "depends_on": list(step.needs),
                }
                for step in self.steps
            ]
        }


def marked(text: str) -> list[Step]:
    """The steps that a text names, in its order."""
    return [
        Step(name, () if needs == "nothing" else tuple(needs.split()), float(seconds))
        for name, seconds, needs in _MARK.findall(text)
    ]


def answered(text: str) -> dict[str, str]:
    """The answers that stand in a text, by their steps."""
    return dict(_ANSWERED.findall(text.replace('\\"', '"')))


def draw(shape: str, size: int, seed: int) -> DrawnPlan:
    """A plan of that shape with so many steps; always the same for the same arguments.

    Latencies are log-normal. A plan in which many steps run at once is stretched to a critical path of 10 s:
    a call costs milliseconds of the processor, whoever makes it.

    Raises:
        KeyError: if there is no such shape.
        ValueError: if the shape needs more steps than that.
    """
    if size < 5:
        raise ValueError(f"a plan is drawn with 5 steps or more, not {size}")
    chance = random.Random(f"{shape} {size} {seed}")
    steps = [
        Step(f"s{number}", tuple(f"s{other}" for other in needs), _latency(chance))
        for number, needs in enumerate(SHAPES[shape](size, chance))
    ]
    plan = DrawnPlan(f"{shape}-{size}-{seed}", tuple(steps))
    if plan.most_at_once >= _WIDE and plan.critical_path < _LONG:
        plan = plan.stretched(1.000001 * _LONG / plan.critical_path)
    return plan


def _latency(chance: random.Random) -> float:
    return round(chance.lognormvariate(math.log(_MEDIAN), _SIGMA), 6)


Needs = list[Sequence[int]]


def _chain(size: int, chance: random.Random) -> Needs:
    return [[number - 1] if number else [] for number in range(size)]


def _fan_out(size: int, chance: random.Random) -> Needs:
    """One step, all others but the last after it, and the last after these."""
    return [[], *([0] for _ in range(size - 2)), range(1, size - 1)]


def _diamond(size: int, chance: random.Random) -> Needs:
    """Split into two to four branches of one to three steps, join, and again."""
    needs: Needs = [[]]
    while len(needs) < size:
        left = size - len(needs)
        split, ends = len(needs) - 1, []
        for _ in range(min(chance.randint(2, 4), left - 1)):
            before = split
            for _ in range(min(chance.randint(1, 3), size - 1 - len(needs))):
                needs.append([before])
                before = len(needs) - 1
            if before != split:
                ends.append(before)
        needs.append(ends or [split])
    return needs


def _layered(size: int, chance: random.Random) -> Needs:
    """About as many layers as steps in each; a step needs one to three of the layer before."""
    layers, needs = round(math.sqrt(size)), Needs()
    before: Sequence[int] = ()
    for layer in range(layers):
        layer_of = range(layer * size // layers, (layer + 1) * size // layers)
        for _ in layer_of:
            count = min(chance.randint(1, 3), len(before))
            needs.append(sorted(chance.sample(before, count)))
        before = layer_of
    return needs


SHAPES: Mapping[str, Callable[[int, random.Random], Needs]] = {
    "chain": _chain,
    "fan-out": _fan_out,
    "diamond": _diamond,
    "layered": _layered,
}


def check(plan: DrawnPlan, answers: Mapping[str, str]) -> None:
    """See that a run gave the right answer to every step.

    Raises:
        RuntimeError: naming steps without it.
    """
    wrong = [name for name, right in plan.answers.items() if answers.get(name) != right]
    if wrong:
        raise RuntimeError(f"{plan.name}: {len(wrong)} answers are wrong or missing: {_some(wrong)}")


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:5])
