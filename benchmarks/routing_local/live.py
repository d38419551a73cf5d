"""Whether the router does in the orchestrator what the replay says, and gets the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchmarks.routing_local.collect import run_routed
from benchmarks.routing_local.evaluate import LEARNED, learn, learned, split
from benchmarks.routing_local.jobs import Job
from benchmarks.routing_local.records import Record
from stellwerk.persistence.traces import TraceStore
from stellwerk.routers.learned import LearnedRouter
from stellwerk.tiers.ladder import Ladder


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One subtask: what was to be expected, and what came of it.

    Args:
        key: of its item.
        expected: the tiers that the replay tries.
        tiers: those that were tried.
        same_answers: whether each attempt on an expected tier gave the recorded answer.
        right: of the last attempt, from 0 to 1.
    """

    key: str
    expected: Sequence[str]
    tiers: Sequence[str]
    same_answers: bool
    right: float

    def as_json(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def run_live(
    records: Sequence[Record],
    blocks: Sequence[Sequence[Job]],
    ladder: Ladder,
    traces: TraceStore,
    jobs: Sequence[Job],
) -> Iterator[Seen]:
    """Run held-out jobs with the learned router.

    Args:
        records: what was collected.
        blocks: the jobs behind the records.
        ladder: the tiers.
        traces: where the traces of these runs are kept.
        jobs: to be run; their records are known on every tier.
    """
    training, held = split(records, blocks, ladder.names)
    trained = learn(training, ladder.names, 0)
    solution = trained.solutions[LEARNED]
    router = LearnedRouter(trained.model, solution.policy)
    plays = learned(trained.model, solution)
    cases = {case.key: case for case in held}
    for job in jobs:
        for record in run_routed(job, router, "learned", ladder, traces):
            case = cases[record.key]
            known = {one.tier: one.answer for one in case.tries}
            yield Seen(
                key=record.key,
                expected=list(plays(case).tiers),
                tiers=[one.tier for one in record.tries],
                same_answers=all(known[one.tier] == one.answer for one in record.tries),
                right=record.tries[-1].right,
            )


def spread(jobs: Sequence[Job], count: int) -> list[Job]:
    """Some of the jobs: the tracks by turns, each in its order."""
    by_track: dict[str, list[Job]] = {}
    for job in jobs:
        by_track.setdefault(job.track, []).append(job)
    longest = max(map(len, by_track.values()), default=0)
    turns = [own[place] for place in range(longest) for own in by_track.values() if place < len(own)]
    return turns[:count]
