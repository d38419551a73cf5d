"""Run jobs through the orchestrator, keep their traces, say which answers are right, and record it all."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from benchmarks.routing_local.explore import Exploring
from benchmarks.routing_local.jobs import Job
from benchmarks.routing_local.records import (
    EXPLORE,
    Record,
    Try,
    append_records,
    load_records,
    save_records,
    stop_propensity,
)
from stellwerk.errors import StellwerkError
from stellwerk.graphs import create_orchestrator
from stellwerk.outcome import Reason
from stellwerk.persistence.traces import TraceStore
from stellwerk.routers import Fixed, Router
from stellwerk.tiers.ladder import Ladder

SEED = 8
_HINDERED = {
    Reason.UNAVAILABLE,
    Reason.TIMEOUT,
    Reason.TIER,
}  # says nothing of the model: the machine was busy


def run_job(job: Job, arm: str, ladder: Ladder, traces: TraceStore) -> list[Record]:
    """One run of the orchestrator; what is known of each answer goes to its trace as feedback.

    Args:
        job: what is to be run.
        arm: `explore`, or the one tier that is used.
        ladder: the tiers.
        traces: where they are kept.

    Raises:
        StellwerkError: the traces of a subtask are missing.
    """
    return run_routed(job, Exploring(SEED) if arm == EXPLORE else Fixed(arm), arm, ladder, traces)


def run_routed(job: Job, router: Router, arm: str, ladder: Ladder, traces: TraceStore) -> list[Record]:
    """As `run_job`, with any router."""
    graph = create_orchestrator(
        job.workers, ladder, router=router, synthesizer="join", traces=traces
    ).compile()
    # A run that was killed may have left traces, which must not be taken for those of this one.
    run_id = f"{job.name} {arm} {uuid4().hex[:8]}"
    graph.invoke(
        {"task": job.name, "plan": job.plan(), "documents": list(job.documents)},
        {"metadata": {"run_id": run_id}},
    )
    traces.flush(timeout=120.0)  # a busy machine may take longer than reading waits
    tries: dict[str, list[Try]] = defaultdict(list)
    stops: dict[str, float] = {}
    stored = sorted(traces.attempts(run_id=run_id), key=lambda attempt: attempt["number"])
    for attempt in stored:
        item = job.item(attempt["subtask"])
        right = 0.0 if attempt["value"] is None else item.right(attempt["value"])
        label = "right" if right >= 1 else "wrong"
        traces.add_feedback(attempt["trace_id"], score=right, label=label, source="gold")
        tries[item.key].append(Try.of(attempt, right))
        stops[item.key] = stop_propensity(attempt)
    if missing := [item.key for item in job.items if not tries[item.key]]:
        raise StellwerkError(f"run {run_id!r} left no trace of {', '.join(missing)}; see the log for why")
    contexts = job.contexts()
    return [
        Record(
            key=item.key,
            job=job.name,
            part=job.part,
            arm=arm,
            context={**contexts[item.key], "instruction": ""},
            tries=tuple(tries[item.key]),
            stopped=stops[item.key],
        )
        for item in job.items
    ]


def arms_of(job: Job, ladder: Ladder) -> list[str]:
    """The arms that a job is run on."""
    return [EXPLORE] if job.part == "explored" else [tier.name for tier in ladder]


def collect(
    blocks: Sequence[Sequence[Job]],
    ladder: Ladder,
    traces: TraceStore,
    path: Path,
    *,
    seconds: float = float("inf"),
) -> Iterator[str]:
    """Run what the file does not have yet, block by block, and add it; gives a line about each job.

    Args:
        blocks: the jobs.
        ladder: the tiers.
        traces: where traces are kept.
        path: of the records.
        seconds: after which no further job is begun.
    """
    records = load_records(path) if path.exists() else []
    save_records(path, records)  # without a line that was cut off
    have = {(record.key, record.arm) for record in records}
    todo = [
        (job, arm)
        for block in blocks
        for job in block
        for arm in arms_of(job, ladder)
        if any((item.key, arm) not in have for item in job.items)
    ]
    began = time.monotonic()
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    again: set[tuple[str, str]] = set()
    for place, (job, arm) in enumerate(todo, 1):  # which grows
        if time.monotonic() - began >= seconds:
            yield f"the time is up with {len(todo) - place + 1} of {len(todo)} to run"
            return
        started = time.monotonic()
        made = run_job(job, arm, ladder, traces)
        if hindered := [one.reason for record in made for one in record.tries if one.reason in _HINDERED]:
            yield f"{place}/{len(todo)} {job.name} {job.part} {arm}: {hindered[0]}, to be run again"
            if (job.name, arm) not in again:
                again.add((job.name, arm))
                todo.append((job, arm))
            continue
        append_records(path, made)
        took[job.track, arm].append(time.monotonic() - started)
        right = sum(record.tries[-1].right for record in made)
        yield (
            f"{place}/{len(todo)} {job.name} {job.part} {arm}: {right:.0f} of {len(made)} right, "
            f"{took[job.track, arm][-1]:.1f} s; {_left(todo[place:], took) / 60:.0f} min left"
        )


def _left(todo: Sequence[tuple[Job, str]], took: dict[tuple[str, str], list[float]]) -> float:
    means = {of: sum(times) / len(times) for of, times in took.items()}
    if not means:
        return 0.0
    usual = sum(means.values()) / len(means)
    return sum(means.get((job.track, arm), usual) for job, arm in todo)


def progress(line: str) -> None:
    """Show how far it is."""
    print(line, file=sys.stderr, flush=True)
