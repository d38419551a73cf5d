"""Tables: what a server adds, what grows, where it is full, where its time goes, and the goals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.growth import growths
from benchmarks.serving.jobs import CALLS
from benchmarks.serving.measure import Measured
from benchmarks.serving.profile import Profile
from benchmarks.serving.saturation import Stage
from benchmarks.statistics import quantile

P50, P99 = 0.020, 0.100  # seconds that a server may add
_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_SHOWN = 12  # lines of a profile


@dataclass(frozen=True)
class Goal:
    """What was wanted, and what came of it."""

    name: str
    wanted: str
    found: str
    met: bool


def markdown(
    served: Measured | None,
    called: Measured | None,
    stages: Sequence[Stage],
    profile: Profile | None,
) -> str:
    """All tables for which there is something."""
    tables = []
    if served is not None and called is not None:
        tables += [_latencies(served, called), _grown(served), _goals(goals(served, called))]
    if stages:
        tables.append(_stages(stages))
    if profile is not None:
        tables += [_profile(profile)]
    return "\n\n".join("\n".join(table) for table in tables if len(table) > 2)


def seconds(found: Measured) -> list[float]:
    """That each task took, from when it was due, beyond what its models did."""
    return [made.seconds - CALLS * found.load.think for made in found.borne.made]


def added(served: Measured, called: Measured, q: float) -> float:
    """Seconds by which a quantile of the server's tasks is above that of the graph's."""
    return quantile(seconds(served), q) - quantile(seconds(called), q)


def errors(found: Measured) -> Counter[str]:
    """What went wrong, with tasks and streams, and with the count of what was done."""
    made, streams = found.borne.made, found.borne.streams
    wrong = Counter(each.problem for each in made if each.problem is not None)
    wrong.update(each for each in streams if each is not None)
    done = found.runs.get("done", 0)
    # Tasks of the warm-up are in both counts, and what was not counted shows as a difference.
    warm = done - len(made) - len(streams)
    calls = CALLS * (len(made) + warm) + len(streams)
    if found.runs and (set(found.runs) != {"done"} or found.calls != calls):
        wrong[f"{found.calls} calls of models where {calls} are right, runs: {found.runs}"] += 1
    return wrong


def goals(served: Measured, called: Measured) -> list[Goal]:
    """What was wanted of a server under load."""
    wrong = errors(served)
    grown = growths(served.samples)
    lines = [
        Goal(
            "errors, of tasks and streams",
            "none",
            f"{wrong.total()} of {len(served.borne.made):,} and {len(served.borne.streams):,}",
            not wrong,
        )
    ]
    lines += [
        Goal(f"growth of {each.name}", "none", f"{each.first:,.0f} to {each.last:,.0f}", not each.grows)
        for each in grown
    ]
    for name, q, most in (("p50", 0.5, P50), ("p99", 0.99, P99)):
        found = added(served, called, q)
        lines.append(Goal(f"added, {name}", f"{most * 1e3:.0f} ms", f"{found * 1e3:.1f} ms", found <= most))
    return lines


def _latencies(served: Measured, called: Measured) -> list[str]:
    heads = " | ".join("most" if q == 1 else f"p{q * 100:.0f}" for q in _QUANTILES)
    lines = [
        f"| ms beyond the models' | tasks | {heads} | ms of CPU a task | latest begun, ms | load average |",
        f"|---|---|{'---|' * len(_QUANTILES)}---|---|---|",
    ]
    for name, found in (("stellwerk serve", served), ("the graph, called in process", called)):
        took = seconds(found)
        cells = " | ".join(f"{quantile(took, q) * 1e3:,.1f}" for q in _QUANTILES)
        late = max((made.late for made in found.borne.made), default=0.0)
        lines.append(
            f"| {name} | {len(took):,} | {cells} | {_cpu(found) * 1e3:.1f} | {late * 1e3:.1f} | "
            f"{found.load_average:.1f} |"
        )
    cells = " | ".join(f"{added(served, called, q) * 1e3:,.1f}" for q in _QUANTILES)
    more = (_cpu(served) - _cpu(called)) * 1e3
    lines.append(f"| added by the server | | {cells} | {more:.1f} | | |")
    return lines


def _cpu(found: Measured) -> float:
    """Seconds of the processor a task that arrived, with all that went on beside it."""
    if len(found.samples) < 2:
        return 0.0
    first, last = found.samples[0], found.samples[-1]
    return (last.cpu - first.cpu) / ((last.at - first.at) * found.load.rate)


def _grown(served: Measured) -> list[str]:
    lines = ["| | after the warm-up | in the end | most |", "|---|---|---|---|"]
    for each in growths(served.samples):
        lines.append(f"| {each.name} | {each.first:,.0f} | {each.last:,.0f} | {each.most:,.0f} |")
    return lines


def _goals(found: Sequence[Goal]) -> list[str]:
    lines = ["| goal | wanted | found | reached |", "|---|---|---|---|"]
    return lines + [
        f"| {goal.name} | {goal.wanted} | {goal.found} | {'yes' if goal.met else '**no**'} |"
        for goal in found
    ]


def _stages(stages: Sequence[Stage]) -> list[str]:
    lines = [
        "| processes | tasks a second | done a second | p50, ms | p99, ms | cores of the servers | "
        "cores of the machine | errors | load average |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in stages:
        lines.append(
            f"| {each.servers} | {each.rate:.1f} | {each.done:.1f} | {each.p50 * 1e3:,.0f} | "
            f"{each.p99 * 1e3:,.0f} | {each.cores:.2f} | {each.machine:.2f} | {each.errors} | "
            f"{each.load_average:.1f} |"
        )
    return lines


def _profile(profile: Profile) -> list[str]:
    lines = ["| share of the time | code that runs | share | with what it calls |", "|---|---|---|---|"]
    own, within = list(profile.parts.items()), list(profile.within.items())
    for at in range(_SHOWN):
        left = f"{own[at][1]:.1%} | {own[at][0]}" if at < len(own) else " | "
        right = f"{within[at][1]:.1%} | {within[at][0]}" if at < len(within) else " | "
        lines.append(f"| {left} | {right} |")
    return lines
