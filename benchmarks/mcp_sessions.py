"""What a call of an MCP server's tool costs: one session for all calls, or one for each.

    python -m benchmarks.mcp_sessions --calls 20 --runs 5 --json mcp_sessions.json

Run it from the root of the repository, as the server is that of the tests. Seconds are by the clock.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.record import conclude
from stellwerk.workers.mcp import mcp_tools

SERVER = ["-m", "tests.mcp_server"]
KINDS = ("a process", "a URL")
SESSIONS: tuple[Literal["kept", "call"], ...] = ("kept", "call")


@dataclass(frozen=True)
class Timing:
    """Milliseconds for a call, and for opening the block, in one run."""

    kind: str
    session: str
    call: float
    opening: float


@contextmanager
def server(kind: str) -> Iterator[dict[str, Any]]:
    """A server as it is declared."""
    if kind == "a process":
        yield {"command": sys.executable, "args": SERVER, "tools": ["add"]}
        return
    command = [sys.executable, *SERVER, "--http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield {"url": f"http://127.0.0.1:{int(process.stdout.readline())}/mcp", "tools": ["add"]}
        finally:
            process.kill()


def measure(calls: int, runs: int) -> list[Timing]:
    """Let the ways take turns, and time each turn.

    Args:
        calls: in a turn, one after the other.
        runs: turns.
    """
    timings = []
    for kind in KINDS:
        with server(kind) as declared:
            for _ in range(runs):
                for session in SESSIONS:
                    began = time.perf_counter()
                    with mcp_tools({"server": declared}, session=session) as (add,):
                        opened = time.perf_counter()
                        for number in range(calls):
                            assert add.invoke({"a": number, "b": 1})[0]["text"] == str(number + 1)
                        ended = time.perf_counter()
                    per_call = 1000 * (ended - opened) / calls
                    timings.append(Timing(kind, session, per_call, 1000 * (opened - began)))
    return timings


def markdown(timings: Sequence[Timing]) -> str:
    """A table: medians, with the least and the most for calls."""
    lines = ["| server is | session | ms a call (least to most) | ms to open |", "|---|---|---|---|"]
    for kind in KINDS:
        for session in SESSIONS:
            cell = [timing for timing in timings if (timing.kind, timing.session) == (kind, session)]
            each = [timing.call for timing in cell]
            lines.append(
                f"| {kind} | {session} | {median(each):.1f} ({min(each):.1f} to {max(each):.1f}) "
                f"| {median(timing.opening for timing in cell):,.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mcp_sessions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=int, default=20, help="in a turn (default: 20)")
    parser.add_argument("--runs", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing here")
    arguments = parser.parse_args()
    if min(arguments.calls, arguments.runs) < 1:
        parser.error("--calls and --runs take numbers from 1 on")
    timings = measure(arguments.calls, arguments.runs)
    where = ", ".join(f"{package} {version(package)}" for package in ("mcp", "langchain-mcp-adapters"))
    conclude(markdown(timings), where, timings, arguments.json)


if __name__ == "__main__":
    main()
