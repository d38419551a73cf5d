"""What is to be run: one job a protocol, router and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from benchmarks.routing.baselines import baselines
from benchmarks.routing.checking import fixed, learn
from benchmarks.routing.corpus import Corpus, right, usd
from benchmarks.routing.dollars import dollars
from benchmarks.routing.method import Length, Method
from benchmarks.routing.newcomer import newcomer
from benchmarks.routing.ours import Stellwerk
from benchmarks.routing.peers import installed
from benchmarks.routing.ranking import rank
from benchmarks.routing.resplits import FLOORS, resplits
from benchmarks.routing.routellm import gsm8k, mmlu
from benchmarks.routing.spending import blind_mix, ends, oracle, spend
from benchmarks.routing.splits import (
    Split,
    Unit,
    by_function,
    by_group,
    by_text,
    folds,
    grouped,
    random_split,
)
from benchmarks.routing.tool_calls import LLAMAS, MIXED, tool_calls
from stellwerk.routers.metrics import capgr, hull, save_at

Figures = dict[str, Any]
Splits = Callable[[Corpus, int], Sequence[Split]]
TRACKS = ("A", "B", "C", "D")
FOLDS = 5
LABELS, THRESHOLDS = 1_500, 500


@dataclass(frozen=True)
class Job:
    """One thing to run.

    Args:
        track: its letter.
        protocol: which rows, and how they are split.
        method: the router's name.
        seed: of the split.
        run: gives the figures.
    """

    track: str
    protocol: str
    method: str
    seed: int
    run: Callable[[], Figures]

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names its row."""
        return self.track, self.protocol, self.method, self.seed


@dataclass(frozen=True)
class Protocol:
    """Rows with their splits."""

    track: str
    name: str
    corpus: Callable[[], Corpus]
    unit: Unit
    splits: Splits


@cache
def _mmlu() -> Corpus:
    return mmlu()


@cache
def _gsm8k() -> Corpus:
    return gsm8k()


@cache
def _verified() -> Corpus:
    return gsm8k(verifiers=True)


@cache
def _llamas() -> Corpus:
    return tool_calls(LLAMAS)


@cache
def _mixed() -> Corpus:
    return tool_calls(MIXED)


@cache
def _dollars() -> Corpus:
    return dollars()


def _folded(unit: Unit) -> Splits:
    return lambda corpus, seed: list(folds(corpus.episodes, FOLDS, unit, seed))


def _few(corpus: Corpus, seed: int) -> Sequence[Split]:
    return [random_split(corpus.episodes, (LABELS, THRESHOLDS), by_text, seed)]


PROTOCOLS = (
    Protocol("A", "MMLU, 1,500 labels", _mmlu, by_text, _few),
    Protocol("A", "GSM8K, 5 folds", _gsm8k, by_text, _folded(by_text)),
    Protocol("C", "BFCL 1:10:55, by function", _llamas, by_function, _folded(by_function)),
    Protocol("C", "BFCL 1:5:90, by function", _mixed, by_function, _folded(by_function)),
    Protocol("D", "ParetoBandit, 5 folds", _dollars, by_text, _folded(by_text)),
)
LONG = (
    Protocol("C", "BFCL 1:10:55, by all functions", _llamas, by_group, _folded(by_group)),
    Protocol("C", "BFCL 1:5:90, by all functions", _mixed, by_group, _folded(by_group)),
    Protocol("A", "MMLU, subjects left out", _mmlu, by_group, _folded(by_group)),
    Protocol("A", "MMLU, 5 folds", _mmlu, by_text, _folded(by_text)),
)
VERIFIED, RESPLIT, NEWCOMER = "GSM8K, verified", "re-splits of", "500 traces of"


def jobs(tracks: Sequence[str], seeds: int) -> Iterator[Job]:
    """All jobs of some tracks; those of one seed come before those of the next, and what takes hours last."""
    methods = contestants()
    for seed, protocols in [
        *((seed, PROTOCOLS) for seed in range(seeds)),
        *((s, LONG) for s in range(seeds)),
    ]:
        if protocols is PROTOCOLS:
            yield from _user_jobs(tracks, seed)
        for protocol in protocols:
            if protocol.track not in tracks:
                continue
            if seed == 0:
                yield Job(protocol.track, protocol.name, "bounds", 0, partial(_bounded, protocol))
            for name, make in methods.items():
                yield Job(protocol.track, protocol.name, name, seed, _judged(protocol, make, seed))
        if protocols is PROTOCOLS and "B" in tracks:
            yield from _verified_jobs(seed)


def contestants() -> dict[str, Callable[[], Method]]:
    """Every router that predicts, by name: ours, the peers that are installed, and plain ones."""
    found: dict[str, Callable[[], Method]] = {"stellwerk": Stellwerk, Length().name: Length}
    for number, method in enumerate(baselines()):
        found[method.name] = partial(_baseline, number)
    return {**found, **installed()[0]}


def _baseline(number: int) -> Method:
    return baselines()[number]


def _bounded(protocol: Protocol) -> Figures:
    return bounds(protocol.corpus())


def bounds(corpus: Corpus) -> Figures:
    """What any router lies between: mixes by lot of the tiers, and who knows all outcomes."""
    known, costs = right(corpus.episodes, corpus.tiers), usd(corpus.episodes, corpus.tiers)
    small, large = ends(known, costs)
    figures: Figures = {"tiers": list(corpus.tiers), "small": [small.cost, small.quality]}
    figures["calls"] = float((known.max(axis=1) > known[:, 0]).mean())
    figures["best"] = float(known.max(axis=1).mean())
    figures["large"] = [large.cost, large.quality]
    for name, points in (("mix", blind_mix(known, costs)), ("oracle", oracle(known, costs))):
        figures[name] = {
            "capgr": capgr(points, small, large),
            "saving": save_at(points, small, large),
            "points": [[point.cost, point.quality] for point in hull([small, *points])],
        }
    return figures


def _judged(protocol: Protocol, make: Callable[[], Method], seed: int) -> Callable[[], Figures]:
    def run() -> Figures:
        corpus = protocol.corpus()
        judge = rank if protocol.track == "A" else spend
        splits = [grouped(split, protocol.unit) for split in protocol.splits(corpus, seed)]
        return judge(corpus, splits, protocol.unit, make())

    return run


def _verified_jobs(seed: int) -> Iterator[Job]:
    if seed == 0:
        yield Job("B", VERIFIED, "rules", 0, lambda: fixed(_verified()))
    split = _folded(by_text)
    yield Job("B", VERIFIED, "stellwerk", seed, lambda: learn(_verified(), split(_verified(), seed), by_text))


def _user_jobs(tracks: Sequence[str], seed: int) -> Iterator[Job]:
    """The floor's re-splits, once; and a router that one user's traces trained."""
    corpora = (
        ("A", "GSM8K", _gsm8k, by_text),
        ("A", "MMLU", _mmlu, by_text),
        ("B", "GSM8K, six tiers", _verified, by_text),
        ("C", "BFCL 1:10:55", _llamas, by_function),
        ("C", "BFCL 1:5:90", _mixed, by_function),
        ("D", "ParetoBandit", _dollars, by_text),
    )
    for track, name, corpus, unit in corpora:
        if track not in tracks:
            continue

        def user(corpus: Callable[[], Corpus] = corpus, unit: Unit = unit) -> Figures:
            return newcomer(corpus(), unit, seed)

        def floors(corpus: Callable[[], Corpus] = corpus, name: str = name) -> Figures:
            return resplits(corpus(), FLOORS[name])

        yield Job(track, f"{NEWCOMER} {name}", "stellwerk", seed, user)
        if seed == 0 and name in FLOORS:
            yield Job(track, f"{RESPLIT} {name}", "stellwerk", 0, floors)
