"""What a learned router costs: a decision, its memory, and training on many traces.

    python -m benchmarks.routing_speed --traces 100000 --json routing_speed.json

Traces are made up: instructions of random words, of which some are hard, on three tiers. They are of about
length of a question of MMLU, with as many different words as fill the vocabulary. Every arm runs in a process
of its own, so that memory is what it alone takes. Run it with one thread (`OMP_NUM_THREADS=1`).
Processor time is told beside the time that passes, which says more of the machine where others use it too. A
decision is before any attempt, or after one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.record import conclude
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routing_context import RoutingContext

TIERS = ("small", "medium", "large")
WORDS = 30_000
HARD = 2_000  # of them
LENGTH = 60  # words of an instruction, on average


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    unit: str


def context(draw: random.Random, words: Sequence[str]) -> RoutingContext:
    """A subtask of random words, the frequent ones more often."""
    count = max(3, round(draw.expovariate(1 / LENGTH)))
    chosen = [words[int(len(words) * draw.random() ** 3)] for _ in range(count)]
    return RoutingContext(
        worker=draw.choice(("extract", "classify", "write")),
        worker_version="1",
        instruction=" ".join(chosen),
        prompt=900,
        fields=draw.randint(1, 8),
        choices=draw.choice((0, 4, 77)),
        depth=1,
        tools=[],
        max_tokens=256,
        source=draw.randint(0, 20_000),
        inputs=draw.randint(0, 3),
        position=0,
        size=1,
    )


def vocabulary(draw: random.Random) -> list[str]:
    """Words that could be, a few letters each."""
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    return ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(WORDS)]


def episodes(count: int) -> list[Episode]:
    """Complete ones; the share of hard words decides who is right."""
    draw = random.Random(0)
    words = vocabulary(draw)
    hard = set(draw.sample(words, HARD))
    made = []
    for number in range(count):
        found = context(draw, words)
        said = found["instruction"].split()
        share = sum(word in hard for word in said) / len(said)
        outcomes = tuple(
            Outcome(
                tier=tier,
                accepted=True,
                usd=10.0**place * 1e-5,
                seconds=draw.uniform(0.1, 2),
                output=draw.randint(5, 200),
                answer=str(draw.randint(0, 3)),
                label=Label(right=float(draw.random() < 0.95 - (5 - 2 * place) * share), source="gold"),
            )
            for place, tier in enumerate(TIERS)
        )
        made.append(Episode(id=f"{number:06d}", context=found, outcomes=outcomes, complete=True))
    return made


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def training(traces: int, path: Path) -> list[Figure]:
    """Trains on so many traces, three to an episode, and leaves the model in a file."""
    from stellwerk.routers.model_file import save_model
    from stellwerk.routers.training import train

    given = episodes(traces // len(TIERS))
    before = megabytes()
    start, busy = time.perf_counter(), time.process_time()
    model = train(given, TIERS)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    save_model(model, path)
    return [
        Figure(name="training", value=taken, unit="s"),
        Figure(name="training, processor", value=busy, unit="s"),
        Figure(name="training, peak memory", value=megabytes(), unit="MB"),
        Figure(name="of that, the traces", value=before, unit="MB"),
        Figure(name="features", value=model.features.width, unit=""),
        Figure(name="file", value=path.stat().st_size / 2**20, unit="MB"),
    ]


def deciding(decisions: int, path: Path) -> list[Figure]:
    """Loads the model, and forms a prior and two beliefs for subtasks that it has not seen."""
    import numpy  # noqa: F401  # what any such program has

    from stellwerk.routers import model_file

    before = megabytes()
    model = model_file.load_model(path)
    draw = random.Random(1)
    words = vocabulary(random.Random(0))
    contexts = [context(draw, words) for _ in range(decisions)]
    outcome = Outcome(tier=TIERS[0], accepted=True, answer="1", output=50)
    times: dict[str, list[float]] = {
        "before": [],
        "before, processor": [],
        "after": [],
        "after, processor": [],
    }
    for found in contexts:
        stamps = [(time.perf_counter(), time.thread_time())]
        prior = model.prior(found)
        model.belief(prior, ())
        stamps.append((time.perf_counter(), time.thread_time()))
        model.belief(prior, (outcome,))
        stamps.append((time.perf_counter(), time.thread_time()))
        for name, (start, end) in (("before", stamps[:2]), ("after", stamps[1:])):
            times[name].append((end[0] - start[0]) * 1e3)
            times[f"{name}, processor"].append((end[1] - start[1]) * 1e3)
    figures = [Figure(name="memory of the model", value=megabytes() - before, unit="MB")]
    for name, taken in times.items():
        parts = quantiles(taken, n=100)
        figures.append(Figure(name=f"decision {name}, p50", value=parts[49], unit="ms"))
        figures.append(Figure(name=f"decision {name}, p99", value=parts[98], unit="ms"))
    return figures


def _apart(
    queue: SimpleQueue[Any], work: Callable[[int, Path], list[Figure]], count: int, path: Path
) -> None:
    queue.put(work(count, path))


def apart(work: Callable[[int, Path], list[Figure]], count: int, path: Path) -> list[Figure]:
    """The figures of some work in a new process."""
    spawn = multiprocessing.get_context("spawn")
    queue: SimpleQueue[list[Figure]] = spawn.SimpleQueue()
    process = spawn.Process(target=_apart, args=(queue, work, count, path))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"a measurement ended with {process.exitcode}")
    return queue.get()


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=2_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "router.safetensors"
        figures = apart(training, arguments.traces, path) + apart(deciding, arguments.decisions, path)
    table = "\n".join(f"{figure.name:36} {figure.value:10,.2f} {figure.unit}" for figure in figures)
    packages = ("stellwerk", "numpy", "scikit-learn", "safetensors")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    conclude(table, f"{arguments.traces:,} traces; {versions}", figures, arguments.json)


if __name__ == "__main__":
    main()
