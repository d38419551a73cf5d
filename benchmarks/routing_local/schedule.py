"""Which rows are run on what, and in which order.

Seconds of one core that a subtask takes, as measured on the first rows (Banking77) and expected from earlier
runs (the others):

| track | 135M | 0.5B | 1.5B | all three | drawn |
|---|---|---|---|---|---|
| Banking77 | 0.5 | 1 | 3 | 4.5 | 1.7 |
| BFCL | 1.3 | 4 | 10 | 15 | 5.5 |
| TAT-QA | 1 | 4 | 11 | 16 | 10 |

Held-out rows and those of the part `every` take all three. So the sizes below come to about 8,500 seconds of
one core: 71 minutes of two that do nothing else. Jobs are dealt out to blocks, each of which has its share of
every track and part, so that a collection that is cut short is balanced, and can be finished later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.routing_local import calls, messages, questions
from benchmarks.routing_local.calls import call_jobs
from benchmarks.routing_local.jobs import PARTS, Job, Part
from benchmarks.routing_local.messages import message_jobs
from benchmarks.routing_local.questions import question_jobs

BLOCKS = 20


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many jobs of a track each part has; the parts follow one upon the other in the shuffled rows."""

    track: str
    jobs: Callable[[Part, int, int], Iterator[Job]]
    sizes: dict[Part, int]


SHARES = (
    Share(track=messages.TRACK, jobs=message_jobs, sizes={"held-out": 20, "every": 20, "explored": 60}),
    Share(
        track=calls.TRACK, jobs=call_jobs, sizes={"held-out": calls.HELD_OUT, "every": 50, "explored": 150}
    ),
    Share(track=questions.TRACK, jobs=question_jobs, sizes={"held-out": 13, "every": 6, "explored": 15}),
)


def all_jobs() -> list[list[Job]]:
    """The jobs of each block.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder lacks a file.
    """
    blocks: list[list[Job]] = [[] for _ in range(BLOCKS)]
    for share in SHARES:
        start = 0
        for part in PARTS:
            jobs = list(share.jobs(part, start, share.sizes[part]))
            for place, job in enumerate(jobs):
                blocks[place * BLOCKS // len(jobs)].append(job)
            start += share.sizes[part]
    return blocks
