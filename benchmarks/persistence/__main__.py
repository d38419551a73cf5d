"""Saving, reading and keeping checkpoints: Stellwerk beside LangGraph's own checkpointers.

    python -m benchmarks.persistence --json persistence.json

Both sides save the same states, at the same durability (each call commits; SQLite with a write-ahead log
and `synchronous` as it is by default; PostgreSQL as the server is set), and take turns in short rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.persistence.report import markdown
from benchmarks.persistence.states import STATES, steps
from benchmarks.persistence.subjects import Subject, pair

ROUNDS, SAVES, READS, LISTS, LISTED = 6, 20, 30, 8, 20


class Thread:
    """A thread that grows on one side."""

    def __init__(self, subject: Subject, state: str) -> None:
        self.subject = subject
        self.configs: list[Any] = []
        self._steps = steps(state, subject.saver.get_next_version)
        self._config: Any = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}

    def grow(self, count: int) -> list[float]:
        """Save more steps; the seconds that each took."""
        seconds = []
        for _ in range(count):
            checkpoint, new, writes = next(self._steps)
            started = time.perf_counter()
            self._config = self.subject.save(self._config, checkpoint, new, len(self.configs), writes)
            seconds.append(time.perf_counter() - started)
            self.configs.append(self._config)
        return seconds

    def read(self, count: int, random_: random.Random) -> list[float]:
        """Read the latest checkpoint and others by turns."""
        latest: Any = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}
        chosen = [latest if index % 2 else random_.choice(self.configs) for index in range(count)]
        return [_timed(partial(self.subject.get, config)) for config in chosen]

    def list(self, count: int) -> list[float]:
        """List the newest checkpoints."""
        thread: Any = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}
        return [_timed(lambda: self.subject.newest(thread, LISTED)) for _ in range(count)]


def measure(backend: str, mode: str, state: str, lengths: list[int], place: Path) -> list[dict[str, Any]]:
    """One thread that grows to each length in turn, on both sides."""
    cells = []
    with pair(backend, mode, place) as subjects:
        threads = [Thread(subject, state) for subject in subjects]
        for length in lengths:
            timed = min(ROUNDS * SAVES, length)
            for thread in threads:
                thread.grow(length - timed - len(thread.configs))
            samples: dict[str, dict[str, list[float]]] = {s.name: {} for s in subjects}
            random_ = random.Random(length)
            for round_ in range(ROUNDS):
                saves = timed // ROUNDS if round_ else timed - timed // ROUNDS * (ROUNDS - 1)
                for thread in threads if round_ % 2 else reversed(threads):
                    own = samples[thread.subject.name]
                    gc.collect()
                    for name, work in _works(thread, saves, random_):
                        own.setdefault(name, []).extend(work())
            for name in ("put", "get_tuple", "list"):
                ours, peer = samples["stellwerk"][name], samples["peer"][name]
                cells.append(_cell(backend, mode, state, length, name, ours, peer))
            sizes = [subject.size() for subject in subjects]
            cells.append(_cell(backend, mode, state, length, "bytes", [sizes[0]], [sizes[1]]))
            for cell in cells[-4:]:
                print(_line(cell), file=sys.stderr, flush=True)
    return cells


def _works(thread: Thread, saves: int, random_: random.Random) -> list[tuple[str, Callable[[], list[float]]]]:
    return [
        ("put", lambda: thread.grow(saves)),
        ("get_tuple", lambda: thread.read(READS, random_)),
        ("list", lambda: thread.list(LISTS)),
    ]


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cell(
    backend: str, mode: str, state: str, length: int, name: str, ours: list[float], peer: list[float]
) -> dict[str, Any]:
    a, b = statistics.median(ours), statistics.median(peer)
    return {
        "backend": backend,
        "mode": mode,
        "state": state,
        "checkpoints": length,
        "measure": name,
        "stellwerk": a,
        "peer": b,
        # Speed, so that more is better; of bytes, less is better.
        "ratio": a / b if name == "bytes" else b / a,
    }


def _line(cell: dict[str, Any]) -> str:
    unit, scale = ("MB", 1e-6) if cell["measure"] == "bytes" else ("ms", 1e3)
    where = f"{cell['backend']:10} {cell['mode']:5} {cell['state']:12} {cell['checkpoints']:6}"
    return (
        f"{where} {cell['measure']:9} "
        f"{cell['stellwerk'] * scale:9.2f} {cell['peer'] * scale:9.2f} {unit}  x {cell['ratio']:.2f}"
    )


def main() -> None:
    """Measure, write the file, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.persistence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--modes", default="sync,async")
    parser.add_argument("--states", default=",".join(STATES))
    parser.add_argument("--lengths", default="100,1000,10000", help="checkpoints in the thread")
    parser.add_argument("--place", type=Path, help="folder for SQLite files; a temporary one by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    lengths = sorted(int(length) for length in arguments.lengths.split(","))
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder:
        for backend in arguments.backends.split(","):
            for mode in arguments.modes.split(","):
                for state in arguments.states.split(","):
                    cells += measure(backend, mode, state, lengths, Path(folder))
                    if arguments.json:
                        arguments.json.write_text(
                            json.dumps(
                                {"command": "python -m benchmarks.persistence", "cells": cells}, indent=1
                            )
                        )
    print(markdown(cells))


main()
