"""Many subtasks over two servers that fail, hang and are killed: is anything lost, or done twice?

    python -m benchmarks.soak --json soak.json

Runs of the orchestrator, all at once, save each step to SQLite (`durability="sync"`). Their subtasks are on
one tier with two replicas, processes on loopback (`benchmarks.soak.server`), which fail a tenth of requests
(500, 429 with `Retry-After`, a body that is cut off) and never answer two in a hundred. Each is killed with
`kill -9` and started again twice, at other times than the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from pydantic import BaseModel

from benchmarks.soak.servers import Served, ServerProcess
from stellwerk import (
    AsyncSQLAlchemySaver,
    Brief,
    Ladder,
    Price,
    create_orchestrator,
    create_worker,
    openai_tier,
)

_CHAIN = 5  # subtasks of which each needs the one before
_KILLS = ((0.15, 0), (0.35, 1), (0.55, 0), (0.75, 1))  # share of the subtasks done, and the server
_DOWN = 1.0  # seconds from a kill to the next start
_WARM = 0.25  # share of the time that is warm-up


class Answer(BaseModel):
    """What the servers answer: whose turn it was, and which request it came from."""

    answer: str
    request: str


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What came of it. Times in seconds, memory in MiB."""

    subtasks: int
    runs: int
    cap: int
    accepted_right: int
    lost: list[str]
    wrong: list[str]
    again_after_acceptance: list[str]
    requests: int
    requests_per_subtask: float
    became: dict[str, int]
    kills: int
    errors: dict[str, int]
    queue_wait_p50: float
    queue_wait_p99: float
    queue_wait_max: float
    peak: dict[str, int]
    peak_together: int
    seconds: float
    subtasks_per_second: float
    rss_warm_median: float
    rss_least: float
    rss_most: float

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, nothing done twice, and no limit broken."""
        spread = max(self.rss_most / self.rss_warm_median, self.rss_warm_median / self.rss_least)
        return (
            self.accepted_right == self.subtasks
            and not self.again_after_acceptance
            and max(self.peak.values()) <= self.cap
            and spread <= 1.1
        )


def job(run: int, number: int) -> str:
    """The instruction of a subtask."""
    return f"r{run}-s{number}"


def right(run: int, number: int) -> str:
    """The answer that a subtask has to have: its own name, and what the one before it answered."""
    first = number - number % _CHAIN
    return "+".join(job(run, each) for each in range(number, first - 1, -1))


def plan(run: int, size: int) -> dict[str, Any]:
    """The plan of one run: chains side by side."""
    subtasks = [
        {
            "id": f"s{number}",
            "worker": "soak",
            "instruction": job(run, number),
            "depends_on": [f"s{number - 1}"] if number % _CHAIN else [],
        }
        for number in range(size)
    ]
    return {"subtasks": subtasks}


async def soak(
    runs: int, size: int, cap: int, folder: Path, *, seconds: float = 5.0, **options: float
) -> Soak:
    """Let it run."""
    done = 0

    def count(answer: Answer, brief: Brief) -> str | None:
        nonlocal done
        done += 1
        return None

    servers = [ServerProcess(name, folder, seed, options) for seed, name in enumerate("ab")]
    await asyncio.gather(*(server.start() for server in servers))
    tier = openai_tier(
        "soak",
        model="soak",
        base_url=[server.url for server in servers],
        price=Price(input=0.1, output=0.4),
        max_concurrency=cap,
        timeout=seconds,
    )
    worker = create_worker("soak", description="soaks", output=Answer, prompt="Soak.", checks=[count])
    memory: list[tuple[float, float]] = []
    over = asyncio.Event()

    async def watch() -> None:
        left = list(_KILLS)
        revivals: list[asyncio.Task[None]] = []
        while not over.is_set():
            memory.append((time.monotonic(), rss()))
            while left and done >= left[0][0] * runs * size:
                revivals.append(asyncio.create_task(revive(servers[left.pop(0)[1]])))
            await asyncio.sleep(0.1)
        await asyncio.gather(*revivals)

    async def revive(server: ServerProcess) -> None:
        await server.kill()
        await asyncio.sleep(_DOWN)
        await server.start()

    async with AsyncSQLAlchemySaver.from_url(f"sqlite:///{folder / 'soak.sqlite'}") as saver:
        await saver.setup()
        graph = create_orchestrator([worker], Ladder([tier]), synthesizer="join").compile(checkpointer=saver)
        watching = asyncio.create_task(watch())
        began = time.monotonic()
        outputs = await asyncio.gather(
            *(
                graph.ainvoke(
                    {"task": "soak", "plan": plan(run, size)},
                    {"configurable": {"thread_id": f"run-{run}"}},
                    durability="sync",
                )
                for run in range(runs)
            )
        )
        ended = time.monotonic()
        over.set()
        await watching
    await asyncio.gather(*(server.kill() for server in servers))
    return judge(outputs, servers, size, cap, memory, began, ended)


def judge(
    outputs: Sequence[Any],
    servers: Sequence[ServerProcess],
    size: int,
    cap: int,
    memory: Sequence[tuple[float, float]],
    began: float,
    ended: float,
) -> Soak:
    """Compare what the runs have with what the servers saw."""
    served = [each for server in servers for each in server.served()]
    by_request = {each.request: each for each in served}
    by_job: dict[str, list[Served]] = {}
    for each in served:
        by_job.setdefault(each.job, []).append(each)
    lost, wrong, again, waits = [], [], [], []
    errors: Counter[str] = Counter()
    for run, output in enumerate(outputs):
        for number in range(size):
            name, result = job(run, number), output["results"][f"s{number}"]
            calls = [call for attempt in result["attempts"] for call in attempt["calls"]]
            errors.update(call["error"].partition(":")[0] for call in calls if "error" in call)
            waits.append(sum(call.get("waited", 0.0) for call in calls))
            if result["status"] != "accepted":
                lost.append(f"{name}: {result.get('reason')}: {result.get('detail')}")
                continue
            if result["value"]["answer"] != right(run, number):
                wrong.append(f"{name}: {result['value']['answer']}")
            accepted = by_request[result["value"]["request"]]
            again += [each.request for each in by_job[name] if each.begin > accepted.end]
    total = len(outputs) * size
    warm = [each for at, each in memory if began + _WARM * (ended - began) <= at <= ended]
    cuts = quantiles(waits, n=100, method="inclusive")
    return Soak(
        subtasks=total,
        runs=len(outputs),
        cap=cap,
        accepted_right=total - len(lost) - len(wrong),
        lost=lost,
        wrong=wrong,
        again_after_acceptance=again,
        requests=len(served),
        requests_per_subtask=len(served) / total,
        became=dict(Counter(each.how for each in served)),
        kills=sum(len(server.kills) for server in servers) - len(servers),
        errors=dict(errors),
        queue_wait_p50=cuts[49],
        queue_wait_p99=cuts[98],
        queue_wait_max=max(waits),
        peak={server.name: server.peak for server in servers},
        peak_together=together(served),
        seconds=ended - began,
        subtasks_per_second=total / (ended - began),
        rss_warm_median=median(warm),
        rss_least=min(warm),
        rss_most=max(warm),
    )


def together(served: Sequence[Served]) -> int:
    """The most requests that ran at once on all servers."""
    steps = sorted([(each.begin, 1) for each in served] + [(each.end, -1) for each in served])
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def rss() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def markdown(result: Soak) -> str:
    """A table for a person."""
    rows = {
        "subtasks accepted with the right answer": f"{result.accepted_right} of {result.subtasks}",
        "requests for a subtask after its accepted answer": str(len(result.again_after_acceptance)),
        "requests, a subtask": f"{result.requests} ({result.requests_per_subtask:.2f})",
        "what became of them": ", ".join(f"{how} {count}" for how, count in sorted(result.became.items())),
        "tries that failed": ", ".join(f"{name} {count}" for name, count in sorted(result.errors.items())),
        "kills": str(result.kills),
        "queue wait p50, p99, most (s)": (
            f"{result.queue_wait_p50:.2f}, {result.queue_wait_p99:.2f}, {result.queue_wait_max:.2f}"
        ),
        "most requests at once": (
            ", ".join(f"{name} {peak}" for name, peak in result.peak.items())
            + f", together {result.peak_together}; the cap is {result.cap}"
        ),
        "memory after warm-up (MiB)": (
            f"median {result.rss_warm_median:.0f}, from {result.rss_least:.0f} to {result.rss_most:.0f}"
        ),
        "seconds": f"{result.seconds:.1f} ({result.subtasks_per_second:.0f} subtasks a second)",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> None:
    """Soak, print the table, write the file; exit with 1 if something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=20, help="at once (default: 20)")
    parser.add_argument("--subtasks", type=int, default=100, metavar="N", help="in a run (default: 100)")
    parser.add_argument("--concurrency", type=int, default=64, help="of the tier (default: 64)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    arguments = parser.parse_args()
    if min(arguments.runs, arguments.subtasks, arguments.concurrency) < 1:
        parser.error("--runs, --subtasks and --concurrency take numbers from 1 on")
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(soak(arguments.runs, arguments.subtasks, arguments.concurrency, Path(folder)))
    where = f"Python {platform.python_version()}, " + ", ".join(
        f"{package} {version(package)}" for package in ("langgraph", "langchain-openai", "openai")
    )
    print(f"{markdown(result)}\n\n{where}")
    for problem in [*result.lost, *result.wrong][:20]:
        print(problem)
    if arguments.json:
        record = {"versions": where, **asdict(result)}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(not result.holds)


if __name__ == "__main__":
    main()
