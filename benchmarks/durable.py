"""What a subtask costs when each of its steps is saved: SQLite, `durability="sync"`, an instant model.

    python -m benchmarks.durable --json durable.json

Stellwerk on its own saver, beside plain LangGraph of the same shape (`benchmarks.overhead`) on LangGraph's
`AsyncSqliteSaver` and on Stellwerk's. Each turn has a new file, in WAL mode with `synchronous=FULL` on both
sides. `side by side`: all subtasks are ready at once. `chain`: each waits for the one before it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.overhead import Arm, orchestrated, same_shape
from benchmarks.record import conclude
from stellwerk import AsyncSQLAlchemySaver

Opened = Callable[[Path], AbstractAsyncContextManager[BaseCheckpointSaver[Any]]]

OWN = "Stellwerk on its own saver"
PEER = "LangGraph, same shape, on AsyncSqliteSaver"
MIXED = "LangGraph, same shape, on Stellwerk's saver"


@asynccontextmanager
async def own_saver(file: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Stellwerk's saver on a new file."""
    async with AsyncSQLAlchemySaver.from_url(f"sqlite:///{file}") as saver:
        await saver.setup()
        yield saver


@asynccontextmanager
async def peer_saver(file: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """LangGraph's saver on a new file, which it puts in WAL mode."""
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        await saver.setup()
        yield saver


ARMS: dict[str, tuple[Callable[..., Arm], Opened]] = {
    OWN: (orchestrated, own_saver),
    PEER: (same_shape, peer_saver),
    MIXED: (same_shape, own_saver),
}


@dataclass(frozen=True)
class Timing:
    """Milliseconds a subtask in one turn, by the clock and of the processor."""

    arm: str
    shape: str
    subtasks: int
    wall: float
    cpu: float


async def turn(name: str, chain: bool, size: int) -> Timing:
    """One run of an arm on a new file.

    Raises:
        RuntimeError: if nothing was saved, or not in WAL mode.
    """
    make, opened = ARMS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.sqlite"
        async with opened(file) as saver:
            config = {"configurable": {"thread_id": "one"}}
            run = make(chain=chain, saver=saver, config=config, durability="sync")
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            await run(size)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        _check(file, size)
    return Timing(name, "chain" if chain else "side by side", size, 1000 * wall / size, 1000 * cpu / size)


def _check(file: Path, size: int) -> None:
    connection = sqlite3.connect(file)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        table = next(name for name in names if name.endswith("checkpoints"))
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    finally:
        connection.close()
    if mode != "wal" or rows < 4 * size:
        raise RuntimeError(f"{rows} checkpoints of {size} subtasks were saved, in journal mode {mode!r}")


def measure(size: int, runs: int) -> list[Timing]:
    """Let the arms take turns, after one turn each that is not counted."""
    timings = []
    for chain in (False, True):
        for number in range(runs + 1):
            for name in ARMS:
                timing = asyncio.run(turn(name, chain, size))
                timings += [timing] if number else []
    return timings


def markdown(timings: Sequence[Timing]) -> str:
    """A table of medians, with the ratio to the peer's."""
    lines = [
        "| ms a subtask, median (minimum) | shape | wall | CPU | wall beside the peer |",
        "|---|---|---|---|---|",
    ]
    for shape in dict.fromkeys(timing.shape for timing in timings):
        for arm in ARMS:
            walls, cpus = (
                [getattr(timing, clock) for timing in timings if (timing.arm, timing.shape) == (arm, shape)]
                for clock in ("wall", "cpu")
            )
            peer = median(timing.wall for timing in timings if (timing.arm, timing.shape) == (PEER, shape))
            lines.append(
                f"| {arm} | {shape} | {median(walls):.2f} ({min(walls):.2f}) | {median(cpus):.2f} "
                f"({min(cpus):.2f}) | {median(walls) / peer:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.durable",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--subtasks", type=int, default=100, metavar="N", help="in a plan (default: 100)")
    parser.add_argument("--runs", type=int, default=5, help="turns of each arm (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing here")
    arguments = parser.parse_args()
    if arguments.subtasks < 1 or arguments.runs < 1:
        parser.error("--subtasks and --runs take numbers from 1 on")
    timings = measure(arguments.subtasks, arguments.runs)
    where = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, " + ", ".join(
        f"{package} {version(package)}"
        for package in ("langgraph", "langchain-core", "langgraph-checkpoint-sqlite")
    )
    conclude(markdown(timings), where, timings, arguments.json)


if __name__ == "__main__":
    main()
