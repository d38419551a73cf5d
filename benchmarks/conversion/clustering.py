"""Clusters of calls: agreement with call sites that are hidden, novelty, and what finding and assigning cost.

    python -m benchmarks.conversion.clustering --json clustering.json

needs `STELLWERK_DATA`. Methods and thresholds were chosen on in-scope rows, on `oos_train` and on the even
rows of CLINC150's `val`; reported are `oos_val` and the odd rows. No out-of-scope row is part of any fit.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks.conversion.corpus import (
    Row,
    banking,
    clinc,
    examples,
    shuffled,
    snips,
    tau_bench,
)
from benchmarks.record import conclude
from benchmarks.routing_speed import Figure as Cost
from benchmarks.routing_speed import apart
from benchmarks.statistics import share_interval
from stellwerk.conversion.cluster import cluster
from stellwerk.conversion.clustering import Clustering
from stellwerk.conversion.clustering_file import load_clustering, save_clustering
from stellwerk.conversion.example import Example

LEVEL = 0.1


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure, with an exact interval where it is a share of independent rows."""

    group: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


def agreement(group: str, given: Sequence[Example], hidden: Mapping[str, Sequence[str]]) -> list[Figure]:
    """How clusters that were found with all call sites hidden agree with what was hidden."""
    from sklearn.metrics import adjusted_rand_score

    found = cluster(given)
    own = {trace: id for id, traces in found.members.items() for trace in traces}
    ids = [own[one.trace_id] for one in given]
    sizes = Counter(ids)
    figures = [
        Figure(group=group, name="calls", value=len(given)),
        Figure(group=group, name="clusters", value=len(sizes)),
        Figure(
            group=group,
            name="share of the ten largest",
            value=sum(times for _, times in sizes.most_common(10)) / len(ids),
        ),
    ]
    for name, truth in hidden.items():
        most: dict[str, Counter[str]] = {}
        for id, what in zip(ids, truth, strict=True):
            most.setdefault(id, Counter())[what] += 1
        pure = sum(times.most_common(1)[0][1] for times in most.values()) / len(ids)
        figures += [
            Figure(group=group, name=f"{name}: groups", value=len(set(truth))),
            Figure(group=group, name=f"{name}: ARI", value=float(adjusted_rand_score(truth, ids))),
            Figure(group=group, name=f"{name}: purity", value=pure),
        ]
    return figures


def several_sites() -> tuple[list[Example], dict[str, list[str]]]:
    """Banking77, CLINC150 and SNIPS as the calls of one agent."""
    parts = {"banking": banking(), "requests": clinc("train"), "slots": snips()}
    rows = [(site, row) for site, found in parts.items() for row in found]
    random.Random(0).shuffle(rows)
    given = examples([row for _, row in rows], "agent")
    return given, {
        "three data sets": [site for site, _ in rows],
        "their intents": [f"{site} {row.intent}" for site, row in rows],
    }


def known_sites() -> list[Figure]:
    """How many clusters each data set falls into as a call site of its own."""
    parts = {"banking": banking(), "requests": clinc("train"), "slots": snips()}
    parts |= {
        name: [row for row in parts["slots"] if row.intent == name] for name in ("GetWeather", "RateBook")
    }
    figures = []
    for name, rows in parts.items():
        found = cluster(examples(shuffled(rows), name))
        figures.append(Figure(group="call sites known", name=f"{name}: clusters", value=len(found.clusters)))
    return figures


def novelty(group: str, given: Sequence[Example], embeddings: Embeddings | None = None) -> list[Figure]:
    """False alarms on CLINC150's odd validation rows, and recall on `oos_val`; the others are told apart."""
    found = cluster(given, embeddings=embeddings, false_alarms=LEVEL)
    held, strange = clinc("val"), clinc("oos_val")
    figures = [
        alarms(group, "false alarms", found, held[1::2]),
        alarms(group, "recall", found, strange),
        alarms(group, "false alarms, development", found, held[::2]),
        alarms(group, "recall, development", found, clinc("oos_train")),
    ]
    for level in (0.05, 0.2):
        figures += [
            alarms(group, f"false alarms at {level}", found, held[1::2], level),
            alarms(group, f"recall at {level}", found, strange, level),
        ]
    return figures


def alarms(group: str, name: str, found: Clustering, rows: Sequence[Row], level: float = LEVEL) -> Figure:
    """The share of rows that are called novel."""
    site = next(iter(found.sites))
    count = sum(found.assign(site, row.text).p_value <= level for row in rows)
    interval = share_interval(count, len(rows))
    return Figure(group=group, name=name, value=interval.estimate, low=interval.low, high=interval.high)


def other_sites() -> list[Figure]:
    """False alarms on SNIPS' validation rows, and recall on the requests of the other call site."""
    found = cluster(examples(shuffled(snips()), "slots"), false_alarms=LEVEL)
    return [
        alarms("novelty: SNIPS", "false alarms", found, snips("validation")),
        alarms("novelty: SNIPS", "recall on Banking77", found, banking()[::10]),
    ]


def finding(count: int, path: Path) -> list[Cost]:
    """The costs of finding clusters in so many examples: all rows, again with other words among them."""
    draw = random.Random(0)
    rows = [*banking(), *clinc("train"), *snips()]
    made = []
    for number in range(count):
        row = rows[number % len(rows)]
        if number >= len(rows):
            words = row.text.split()
            words[draw.randrange(len(words))] = f"{draw.choice('bdgkm')}{draw.randrange(5_000)}"
            row = Row(" ".join(words), row.answer, row.intent)
        made.append(row)
    given = examples(made, "agent")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, busy = time.perf_counter(), time.process_time()
    found = cluster(given)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    save_clustering(found, path)
    return [
        Cost(name="finding", value=taken, unit="s"),
        Cost(name="finding, processor", value=busy, unit="s"),
        Cost(name="peak memory", value=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, unit="MB"),
        Cost(name="of that, the examples", value=before, unit="MB"),
        Cost(name="file", value=path.stat().st_size / 2**20, unit="MB"),
    ]


def assigning(count: int, path: Path) -> list[Cost]:
    """The costs of assignment, from the file."""
    found = load_clustering(path)
    rows = shuffled(clinc("val"))[:count]
    times = []
    for row in rows:
        start = time.perf_counter()
        found.assign("agent", row.text)
        times.append((time.perf_counter() - start) * 1e3)
    cuts = quantiles(times, n=100)
    return [
        Cost(name="assigning, p50", value=cuts[49], unit="ms"),
        Cost(name="assigning, p99", value=cuts[98], unit="ms"),
    ]


def costs(count: int) -> list[Figure]:
    """What finding and assigning cost, each in a process of its own."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clusters.safetensors"
        told = apart(finding, count, path) + apart(assigning, 2_000, path)
    return [
        Figure(group=f"{count:,} examples", name=f"{one.name}, {one.unit}", value=one.value) for one in told
    ]


class Vectors(Embeddings):
    """Embeddings that were made before: a JSON file of texts and a numpy file of their vectors."""

    def __init__(self, stem: Path) -> None:
        texts = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        vectors: Any = np.load(stem.with_suffix(".npy"), allow_pickle=False)
        self._known = dict(zip(texts, vectors.tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return list(self._known[text])


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=100_000, help="of which the costs are measured")
    parser.add_argument("--parts", default="sites,tau,known,novelty,snips,costs")
    parser.add_argument("--vectors", type=Path, help="embeddings of CLINC150: the files' name, without .npy")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = shuffled(clinc("train"))
    tau, steps = tau_bench()
    parts: dict[str, Callable[[], list[Figure]]] = {
        "sites": lambda: agreement("call sites hidden", *several_sites()),
        "tau": lambda: agreement("τ-bench", tau, {"next step": steps}),
        "known": known_sites,
        "novelty": lambda: [
            *novelty("novelty: CLINC150", examples(rows, "requests")),
            *novelty("novelty: CLINC150 without answers", examples(rows, "requests", answered=False)),
        ],
        "snips": other_sites,
        "costs": lambda: costs(arguments.examples),
    }
    figures = [figure for part in arguments.parts.split(",") for figure in parts[part]()]
    if arguments.vectors:
        known = Vectors(arguments.vectors)
        for answered in (True, False):
            group = f"novelty: CLINC150, embeddings{'' if answered else ', without answers'}"
            figures += novelty(group, examples(rows, "requests", answered=answered), known)
    lines = [
        f"{one.group:44} {one.name:30} {one.value:10,.3f}"
        + (f" [{one.low:.3f}, {one.high:.3f}]" if one.low is not None else "")
        for one in figures
    ]
    packages = ("stellwerk", "numpy", "scikit-learn", "safetensors")
    conclude(
        "\n".join(lines),
        ", ".join(f"{package} {version(package)}" for package in packages),
        figures,
        arguments.json,
    )


if __name__ == "__main__":
    main()
