"""What a report tells. Money in USD, times in seconds, shares from 0 to 1; None where nobody knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from stellwerk.persistence.report_units import Latency


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What runs cost, against an estimate of the same work on the large tier alone.

    Args:
        compared: how many runs it is of: those whose ledgers tell both. The others do not count in it.
        usd: what they cost.
        usd_large: what they would have cost; an estimate.
        saved: the difference; below 0 where the large tier alone would have been cheaper.
        share: of `usd_large` that was saved.
    """

    compared: int = 0
    usd: float = 0.0
    usd_large: float = 0.0
    saved: float | None = None
    share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """All runs of a time.

    Args:
        outcomes: how many runs there are, by how they ended, or `running`.
        success: share of `ok` among those that ended as `ok` or `failed`.
        usd: what the runs that ended cost; calls on tiers without a price left out.
        unpriced: how many calls those are.
        calls: of models, in the runs that ended.
        subtasks: that were accepted, by the tier whose answer was served.
        latency: from task to answer; None if none has ended.
        saving: against the large tier alone.
        method: of the estimate, in words; None without one.
        ended_by_budget: how many runs a limit ended, by the limit.
        left_out: runs that ended, and whose ledgers were not read as there are too many.
    """

    outcomes: dict[str, int]
    success: float | None
    usd: float
    unpriced: int
    calls: int
    subtasks: dict[str, int]
    latency: Latency | None
    saving: Saving
    method: str | None
    ended_by_budget: dict[str, int]
    left_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLine:
    """One run.

    Args:
        run_id: of the run.
        thread_id: of its thread, or empty.
        outcome: `ok`, `failed`, `interrupted` or `running`.
        started_at: when the task arrived.
        seconds: from task to answer; None before that.
        usd: what it cost; None before it has ended, or where no call has a price.
        unpriced: how many of its calls have no price.
        saving: against the large tier alone; None where it cannot be told.
        attempts: how many there were.
        rejected: how many of those were rejected.
        tiers: how many subtasks each tier's answer was served for.
        task: what was asked; None unless contents are asked for.
        detail: what is missing, or went wrong; None unless contents are asked for.
        budget_ended: the limit that ended it.
    """

    run_id: str
    thread_id: str
    outcome: str
    started_at: datetime
    seconds: float | None = None
    usd: float | None = None
    unpriced: int = 0
    saving: Saving | None = None
    attempts: int | None = None
    rejected: int | None = None
    tiers: dict[str, int] = field(default_factory=dict)
    task: str | None = None
    detail: str | None = None
    budget_ended: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLine:
    """What one worker did: attempts that ended in the time, whether their run has ended or not.

    Args:
        worker: its name.
        subtasks: how many it was tried on.
        attempts: how many there were.
        accepted: how many attempts the checks took.
        tiers: how many accepted attempts there were on each tier.
        tried: how many attempts there were on each tier.
        reasons: how many were rejected, by reason, the most frequent first.
        latency: model time of all attempts at a subtask.
        input, cached, output: tokens.
        usd: what they cost, those on tiers without a price left out.
        unpriced: how many attempts those are.
        saving: against the large tier alone, of runs that have ended, planning and merging left out; None
            where no ledger tells it.
    """

    worker: str
    subtasks: int
    attempts: int
    accepted: int
    tiers: dict[str, int]
    tried: dict[str, int]
    reasons: dict[str, int]
    latency: Latency | None
    input: int
    cached: int
    output: int
    usd: float
    unpriced: int
    saving: Saving | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """All runs of a time.

    Args:
        since: from when on; None for all.
        made_at: when this was read.
        totals: of all of them.
        runs: the newest ones.
        workers: by name.
        tiers: names, cheapest first, by what a token cost in the traces.
    """

    since: datetime | None
    made_at: datetime
    totals: Totals
    runs: list[RunLine]
    workers: list[WorkerLine]
    tiers: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """One attempt at a subtask.

    Args:
        trace_id: of its trace.
        number: in its subtask, from 1.
        tier, model: where it ran.
        accepted: whether the checks took it.
        reason: why not.
        router: that picked the tier; None where none decided.
        why: it picked that, in words.
        propensity: with which probability.
        calls: of the model.
        input, cached, output: tokens.
        usd: None on a tier without a price.
        seconds: model time.
        ended_at: when it ended.
        prompt, answer, detail: None unless contents are asked for and kept.
    """

    trace_id: str
    number: int
    tier: str
    model: str
    accepted: bool
    reason: str | None
    router: str | None
    why: str | None
    propensity: float | None
    calls: int
    input: int
    cached: int
    output: int
    usd: float | None
    seconds: float
    ended_at: datetime
    prompt: list[dict[str, Any]] | None = None
    answer: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SubtaskView:
    """One subtask of a run.

    Args:
        id: in the plan.
        worker: that does it.
        status: `accepted`, `failed`, `skipped`, `running` or `waiting`.
        tier: whose answer was served; without one, the last that was tried. None if none was.
        depends_on: subtasks whose results it needs.
        attempts: oldest first; those that were found in a cache leave none.
        usd: of all attempts; None if none of them has a price.
        seconds: of all attempts.
        reason: why it has no result.
        instruction: None unless contents are asked for and kept.
    """

    id: str
    worker: str
    status: str
    tier: str | None
    depends_on: list[str]
    attempts: list[AttemptView]
    usd: float | None
    seconds: float
    reason: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """One run with its plan.

    Args:
        run: as in the table of runs.
        subtasks: in the order of the plan; those of plans that were replaced come first.
        planned: whether the plan is known; if not, what depends on what is not known either.
        tiers: names, cheapest first.
        method: of the estimate of the saving.
        answer: of a run that has ended; None unless contents are asked for and it is in the database.
    """

    run: RunLine
    subtasks: list[SubtaskView]
    planned: bool
    tiers: list[str]
    method: str | None = None
    answer: str | None = None


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON says it."""
    made: dict[str, Any] = _plain(asdict(record))
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
