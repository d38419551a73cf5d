"""How close a run of a plan comes to its critical path, beside what people would use instead.

    python -m benchmarks.scheduling --json scheduling.json

Chat models are simulated on loopback HTTP: each takes for a step of a random plan as long as the plan says.
Measures: `makespan`, Stellwerk and its peers on the same plans by turns; `own-time`, what a subtask costs by
itself; `memory`, of one that waits; `crowd`, many runs in one process. With a file, it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.scheduling.measures import crowd, makespan, memory, own_time
from benchmarks.scheduling.plans import draw
from benchmarks.scheduling.report import markdown
from benchmarks.scheduling.server import serving
from benchmarks.scheduling.systems.handoffs import is_installed
from benchmarks.scheduling.turns import Due, Turns
from stellwerk.errors import InputError

MEASURES = (makespan.NAME, own_time.NAME, memory.NAME, crowd.NAME)
_PACKAGES = ("langgraph", "langchain-core", "langchain-openai", "openai", "langgraph-supervisor")


def due(
    measures: Sequence[str], *, quick: bool, runs: int, url: str, folder: Path, runner: asyncio.Runner
) -> list[Due]:
    """The turns of these measures."""
    turns: list[Due] = []
    if makespan.NAME in measures:
        plans = [draw(*plan) for plan in makespan.FULL]
        if quick:  # ratios are worse for it, as a call costs the processor the same
            plans = [draw(*plan).stretched(0.5) for plan in makespan.QUICK]
        turns += makespan.due(plans, url, runs, runner)
    if own_time.NAME in measures:
        turns += own_time.due([300] if quick else [1000, 5000], 1 if quick else 3, folder)
    if memory.NAME in measures:
        turns += memory.due(200 if quick else 1000, 200 if quick else 250, 1 if quick else 3)
    if crowd.NAME in measures:
        turns += crowd.due(20 if quick else 200, url, 1, runner)
    return turns


def versions() -> str:
    """Of everything that has a part in the times."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def main() -> None:
    """Measure what is left, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scheduling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, metavar="MEASURE")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller plans, in a minute or so")
    parser.add_argument("--runs", type=int, help="of each system on each plan (default: 2; 1 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every turn here, and go on from it")
    arguments = parser.parse_args()
    runs = arguments.runs if arguments.runs is not None else 1 if arguments.quick else 2
    if runs < 1:
        parser.error("--runs takes numbers from 1 on")
    where = versions()
    try:
        turns = Turns(arguments.json, {"versions": where, "quick": arguments.quick})
    except InputError as error:
        parser.error(str(error))
    if not is_installed and makespan.NAME in arguments.only:
        _say("langgraph-supervisor is not installed, and left out; `pip install '.[bench]'` has it")
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        url = stack.enter_context(serving())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        planned = due(arguments.only, quick=arguments.quick, runs=runs, url=url, folder=folder, runner=runner)
        make(turns, planned)
    print(f"{markdown(list(turns))}\n\n{where}")


def make(turns: Turns, planned: Sequence[Due]) -> None:
    """Make those that are left, and say how far it is."""
    left = turns.left(planned)
    for number, each in enumerate(left, 1):
        minutes = sum(other.expected for other in left[number - 1 :]) / 60
        _say(
            f"[{number} of {len(left)}, {minutes:.0f} min left] {each.measure}: {each.case}, {each.arm}",
            end="",
        )
        begun = time.perf_counter()
        turns.make(each)
        _say(f": {time.perf_counter() - begun:.1f} s")


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
