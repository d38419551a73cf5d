"""All runs of a time: totals, the newest of them, and what each worker did."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from stellwerk.ledger import LedgerRecord
from stellwerk.persistence import report_units as units
from stellwerk.persistence.report_units import Latency, Selection, Visible, Work
from stellwerk.persistence.schema.columns import text
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.records import Overview, RunLine, Saving, Totals, WorkerLine

MOST_LEDGERS = 20_000  # that are read; each is a few KB of JSON
_MOST_RUNNING = 1_000  # of which it is looked up whether they still do
WAIT = 5.0  # seconds to wait for traces that are still to be written


def overview(
    traces: TraceStore,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    visible: Visible | None = None,
    limit: int = 200,
    contents: bool = False,
) -> Overview:
    """What ran in a time.

    Args:
        traces: to read from.
        since: from this moment on; None for all.
        until: before this moment.
        visible: which rows may be seen; None for all. See `stellwerk.persistence.report_units.threads_of`.
        limit: so many of the newest runs are listed; totals are of all.
        contents: whether tasks and errors are told.

    Raises:
        DatabaseError: if the database fails.
    """
    traces.flush(WAIT)
    chosen, database = Selection(since=since, until=until, visible=visible), traces.database
    sums = _Ledgers(database.read(lambda c: units.ledgers(c, chosen, MOST_LEDGERS)))
    work = database.read(lambda c: units.work(c, chosen))
    latencies = database.read(lambda c: units.worker_latency(c, chosen))
    reasons = database.read(lambda c: units.rejections(c, chosen))
    outcomes = _outcomes(traces, chosen)
    rows = database.read(lambda c: units.latest(c, chosen, limit, tasks=contents))
    latency = database.read(lambda c: units.run_latency(c, chosen))
    ended = outcomes.get("ok", 0) + outcomes.get("failed", 0)
    totals = Totals(
        outcomes=outcomes,
        success=outcomes.get("ok", 0) / ended if ended else None,
        usd=sums.usd,
        unpriced=sums.unpriced,
        calls=sums.calls,
        subtasks=dict(sums.served),
        latency=latency,
        saving=sums.saving(),
        method=sums.method,
        ended_by_budget=dict(sums.ended_by_budget),
        left_out=max(0, (latency.number if latency else 0) - sums.number),
    )
    return Overview(
        since=since,
        made_at=datetime.now(UTC),
        totals=totals,
        runs=run_lines(traces, rows, contents=contents),
        workers=_workers(work, latencies, reasons, sums),
        tiers=by_price(work),
    )


def run_lines(traces: TraceStore, rows: Iterable[Any], *, contents: bool) -> list[RunLine]:
    """Rows of runs as records. A run whose process is known to have died counts as interrupted."""
    lines = [_line(row, contents=contents) for row in rows]
    said = [line.run_id for line in lines if line.outcome == "running"]
    dead = traces.database.read(lambda c: units.dead(c, said)) if said else set()
    return [_interrupted(line) if line.run_id in dead else line for line in lines]


def by_price(work: Sequence[Work]) -> list[str]:
    """The tiers, cheapest first, by what a token cost; those without a price come first."""
    usd, tokens = dict[str, float](), dict[str, int]()
    for one in work:
        usd[one.tier] = usd.get(one.tier, 0.0) + one.usd
        tokens[one.tier] = tokens.get(one.tier, 0) + one.input + one.output
    return sorted(tokens, key=lambda tier: (usd[tier] / (tokens[tier] or 1), tier))


def saving(usd: float, usd_large: float, compared: int) -> Saving:
    """A saving, with what follows from it."""
    saved = usd_large - usd if compared else None
    share = saved / usd_large if saved is not None and usd_large > 0 else None
    return Saving(compared=compared, usd=usd, usd_large=usd_large, saved=saved, share=share)


class _Ledgers:
    """Sums over ledgers, which SQL cannot add up alike in all databases, as they are JSON."""

    def __init__(self, written: Iterable[str]) -> None:
        self.number = self.calls = self.unpriced = 0
        self.usd = 0.0
        self.method: str | None = None
        self.served, self.ended_by_budget = Counter[str](), Counter[str]()
        self._compared, self._usd, self._large = 0, 0.0, 0.0
        self._workers: dict[str, tuple[int, float, float]] = {}
        for one in written:
            self._add(json.loads(one))

    def _add(self, ledger: LedgerRecord) -> None:
        total, large = ledger["total"], ledger["all_large"]
        self.number += 1
        self.calls += total["calls"]
        self.unpriced += total["unpriced"]
        self.usd += total["usd"]
        self.served.update(ledger["accepted"])
        if ended := _ended_by(ledger):
            self.ended_by_budget[ended] += 1
        one = saving_of(ledger)
        if one is None:
            return
        self.method = self.method or large["method"]
        self._compared += 1
        self._usd += one.usd
        self._large += one.usd_large
        for worker, usd in large.get("by_worker", {}).items():
            runs, own, other = self._workers.get(worker, (0, 0.0, 0.0))
            spent = ledger["by_worker"][worker]["usd"] if worker in ledger["by_worker"] else 0.0
            self._workers[worker] = runs + 1, own + spent, other + usd

    def saving(self) -> Saving:
        return saving(self._usd, self._large, self._compared)

    def saving_by(self, worker: str) -> Saving | None:
        if worker not in self._workers:
            return None
        runs, usd, large = self._workers[worker]
        return saving(usd, large, runs)


def saving_of(ledger: LedgerRecord) -> Saving | None:
    """The saving of one run; None where some calls have no price, or the large tier has none."""
    large = ledger["all_large"]["usd"]
    if large is None or ledger["total"]["unpriced"]:
        return None
    return saving(ledger["total"]["usd"], large, 1)


def _outcomes(traces: TraceStore, chosen: Selection) -> dict[str, int]:
    """How runs ended; those whose process is known to have died as interrupted."""
    outcomes = traces.database.read(lambda c: units.outcomes(c, chosen))
    if outcomes.get("running"):
        said = traces.database.read(lambda c: units.running(c, chosen, _MOST_RUNNING))
        if died := len(traces.database.read(lambda c: units.dead(c, said))):
            outcomes["running"] -= died
            outcomes["interrupted"] = outcomes.get("interrupted", 0) + died
    return {outcome: number for outcome, number in outcomes.items() if number}


def _line(row: Any, *, contents: bool) -> RunLine:
    line = RunLine(
        run_id=text(bytes(row.run_id)),
        thread_id=text(bytes(row.thread_id)),
        outcome=row.outcome,
        started_at=row.started_at,
        task=row.task if contents else None,
        detail=row.detail if contents else None,
    )
    return line if row.ledger is None else _with_ledger(line, json.loads(row.ledger))


def _with_ledger(line: RunLine, ledger: LedgerRecord) -> RunLine:
    total = ledger["total"]
    return replace(
        line,
        seconds=ledger["wall_seconds"],
        usd=total["usd"] if total["unpriced"] < total["calls"] or not total["calls"] else None,
        unpriced=total["unpriced"],
        saving=saving_of(ledger),
        attempts=ledger["attempts"],
        rejected=ledger["attempts"] - sum(ledger["accepted"].values()),
        tiers=ledger["accepted"],
        budget_ended=_ended_by(ledger),
    )


def _ended_by(ledger: LedgerRecord) -> str | None:
    budget = ledger.get("budget")
    return budget["ended"] if budget else None


def _interrupted(line: RunLine) -> RunLine:
    return replace(line, outcome="interrupted")


def _workers(
    work: Sequence[Work],
    latencies: Mapping[str, Latency],
    reasons: Mapping[str, Mapping[str, int]],
    sums: _Ledgers,
) -> list[WorkerLine]:
    order = {tier: place for place, tier in enumerate(by_price(work))}
    lines = []
    for worker in sorted({one.worker for one in work}):
        own = sorted((one for one in work if one.worker == worker), key=lambda one: order[one.tier])
        latency = latencies.get(worker)
        lines.append(
            WorkerLine(
                worker=worker,
                subtasks=latency.number if latency else 0,
                attempts=sum(one.attempts for one in own),
                accepted=sum(one.accepted for one in own),
                tiers={one.tier: one.accepted for one in own if one.accepted},
                tried={one.tier: one.attempts for one in own},
                reasons=dict(reasons.get(worker, {})),
                latency=latency,
                input=sum(one.input for one in own),
                cached=sum(one.cached for one in own),
                output=sum(one.output for one in own),
                usd=sum(one.usd for one in own),
                unpriced=sum(one.unpriced for one in own),
                saving=sums.saving_by(worker),
            )
        )
    return lines
