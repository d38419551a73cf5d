"""`stellwerk serve` under load, on loopback: what it adds to a run, what grows, where it is full.

    python -m benchmarks.serving --json serving.json

Tasks of three calls with a given plan arrive at ten a second for ten minutes, while 200 streams are held
open; models are simulated, and take two seconds. Measures: `load`, that, and the same graph called in process
by the same arrivals; `saturation`, rising rates with models that take a tenth of a second, on one process and
on two; `profile`, of one process that is all but full, where py-spy is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.serving.arrivals import Load
from benchmarks.serving.measure import measured
from benchmarks.serving.models import simulated
from benchmarks.serving.place import Place, serving
from benchmarks.serving.report import errors, markdown
from benchmarks.serving.saturation import full, stages

MEASURES = ("load", "saturation", "profile")
_PACKAGES = (
    *("langgraph", "langchain-core", "langchain-openai", "openai", "sqlalchemy"),
    *("fastapi", "uvicorn", "uvloop", "httptools"),
)
_FULL = 1_000.0  # tasks a second, which no server does
_RISE = 4.0  # tasks a second from stage to stage


async def measure(arguments: argparse.Namespace, place: Place, record: dict[str, Any]) -> str:
    """Measure what is asked for, note all of it in the record, and give the tables."""
    served = called = profile = None
    load = Load(
        arguments.rate, arguments.minutes * 60, arguments.think, arguments.streams, even=arguments.even
    )
    steps: list[Any] = []
    if "load" in arguments.only:
        _say("the graph, called in process")
        called = await measured(place, load)
        _say("stellwerk serve")
        async with serving(place) as servers:
            served = await measured(place, load, servers)
        record |= {"called": asdict(called), "served": asdict(served), "errors": dict(errors(served))}
    rates = [_RISE * number for number in range(1, round(_FULL / _RISE))]
    if "saturation" in arguments.only:
        for count in arguments.processes:
            steps += await stages(place, rates, arguments.stage, count, _say)
        record["stages"] = [asdict(each) for each in steps]
    if "profile" in arguments.only:
        alone = [each for each in steps if each.servers == 1 and each.kept_up]
        rate = max((each.rate for each in alone), default=arguments.rate)
        _say(f"a profile at {rate:g} tasks a second")
        if (profile := await full(place, rate, arguments.stage)) is None:
            _say("there is no profile: py-spy is not installed, or may not look")
        else:
            record["profile"] = {"rate": rate, **asdict(profile)}
    return markdown(served, called, steps, profile)


def versions() -> str:
    """Of everything that has a part in the times."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def options(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, metavar="MEASURE")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the load (default: 10)")
    parser.add_argument("--rate", type=float, default=10.0, help="tasks that arrive a second (default: 10)")
    parser.add_argument("--even", action="store_true", help="evenly, rather than as a Poisson process does")
    parser.add_argument("--streams", type=int, default=200, help="held open meanwhile (default: 200)")
    parser.add_argument("--think", type=float, default=2.0, help="seconds that a model takes (default: 2)")
    parser.add_argument("--stage", type=float, default=20.0, help="seconds of a rate (default: 20)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of servers (default: 1 2)")
    parser.add_argument("--database", metavar="URL", help="an empty database instead of a SQLite file")
    parser.add_argument("--place", type=Path, help="folder for the SQLite file; a temporary one by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all of it here")
    arguments = parser.parse_args(given)
    if min(arguments.minutes, arguments.rate, arguments.stage, *arguments.processes) <= 0:
        parser.error("--minutes, --rate, --stage and --processes take numbers above 0")
    if min(arguments.streams, arguments.think) < 0:
        parser.error("--streams and --think take numbers from 0 on")
    return arguments


def main() -> None:
    """Measure, print the tables, write the file."""
    arguments = options()
    where = versions()
    record: dict[str, Any] = {"versions": where, "options": {**vars(arguments), "json": None, "place": None}}
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder, simulated() as models:
        place = Place(Path(folder), models, arguments.database)
        place.prepare()
        try:
            print(f"{asyncio.run(measure(arguments, place, record))}\n\n{where}")
        finally:
            if arguments.json:
                arguments.json.write_text(json.dumps(record) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
