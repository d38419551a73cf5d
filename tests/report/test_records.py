"""The figures of a report are those of the runs' own ledgers."""

import json
from pathlib import Path

import pytest

from stellwerk.persistence.report_units import threads_of
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.overview import overview
from stellwerk.report.records import plain
from stellwerk.report.run import run_view
from tests.report.runs import WORKERS, fill


def test_totals_are_sums_of_the_ledgers(traces: TraceStore) -> None:
    found = overview(traces)
    ledgers = [run["ledger"] for run in traces.runs() if run["ledger"] is not None]
    assert sum(found.totals.outcomes.values()) == len(ledgers) == len(found.runs) == 24
    assert found.totals.usd == pytest.approx(sum(ledger["total"]["usd"] for ledger in ledgers))
    large = sum(ledger["all_large"]["usd"] or 0 for ledger in ledgers)
    assert found.totals.saving.usd_large == pytest.approx(large)
    assert found.totals.saving.saved == pytest.approx(large - found.totals.usd)
    assert found.totals.saving.share == pytest.approx(1 - found.totals.usd / large)
    assert found.tiers == ["small", "large"]
    ok = sum(run["outcome"] == "ok" for run in traces.runs())
    assert found.totals.success == pytest.approx(ok / 24)
    walls = sorted(ledger["wall_seconds"] for ledger in ledgers)
    assert found.totals.latency is not None
    assert (found.totals.latency.p50, found.totals.latency.p95) == (walls[11], walls[22])


def test_savings_of_workers_make_up_that_of_all_runs(traces: TraceStore) -> None:
    # Plans were given and answers joined, so that nothing was paid for but workers.
    found = overview(traces)
    assert [one.worker for one in found.workers] == sorted(WORKERS)
    savings = [one.saving for one in found.workers if one.saving is not None]
    assert sum(one.saved or 0 for one in savings) == pytest.approx(found.totals.saving.saved)
    assert sum(one.usd for one in found.workers) == pytest.approx(found.totals.usd)
    for one in found.workers:
        rejected = sum(one.reasons.values())
        assert one.accepted + rejected == one.attempts == sum(one.tried.values())
        assert one.latency is not None
        assert one.latency.number == one.subtasks <= one.attempts


def test_who_may_see_some_threads_only_is_told_of_no_other(traces: TraceStore) -> None:
    bob = threads_of("bob:")
    found = overview(traces, visible=bob)
    assert sum(found.totals.outcomes.values()) == len(found.runs) == 4
    assert "ada:" not in json.dumps(plain(found))
    hers = next(run for run in overview(traces).runs if run.thread_id.startswith("ada:"))
    assert run_view(traces, hers.run_id, visible=bob) is None
    assert run_view(traces, thread_id=hers.thread_id, visible=bob) is None


def test_a_run_has_its_plan_and_the_attempts_at_it(traces: TraceStore) -> None:
    stored = next(run for run in traces.runs() if run["ledger"] and run["ledger"]["attempts"] >= 6)
    view = run_view(traces, stored["run_id"])
    assert view is not None
    assert view.planned
    needs = {one.id: one.depends_on for one in view.subtasks}
    assert any(needs.values())
    assert all(name in needs for needed in needs.values() for name in needed)
    ledger = stored["ledger"]
    assert ledger is not None
    assert sum(len(one.attempts) for one in view.subtasks) == ledger["attempts"]
    assert sum(one.usd or 0 for one in view.subtasks) == pytest.approx(ledger["total"]["usd"])
    for one in view.subtasks:
        if one.status == "accepted":
            assert one.tier == one.attempts[-1].tier


def test_a_thread_stands_for_its_newest_run(traces: TraceStore) -> None:
    run = overview(traces).runs[0]
    view = run_view(traces, thread_id=run.thread_id)
    assert view is not None
    assert view.run.run_id == run.run_id


def test_without_checkpoints_subtasks_are_those_that_were_tried(tmp_path: Path) -> None:
    fill(tmp_path / "runs.sqlite", 1, checkpoints=False)
    with TraceStore.from_url(tmp_path / "runs.sqlite") as traces:
        view = run_view(traces, overview(traces).runs[0].run_id)
    assert view is not None
    assert not view.planned
    assert {one.status for one in view.subtasks} <= {"accepted", "failed"}
    assert all(one.depends_on == [] for one in view.subtasks)


def test_contents_are_told_only_if_they_are_asked_for(traces: TraceStore) -> None:
    run = overview(traces).runs[0]
    quiet = json.dumps([plain(overview(traces)), plain(run_view(traces, run.run_id))])
    for said in ("of case", "is done", "Do write", "develop", "reminder", "desk", "margin below"):
        assert said not in quiet
    view = run_view(traces, run.run_id, contents=True)
    assert view is not None
    first = view.subtasks[0]
    assert "of case" in (first.instruction or "")
    assert first.attempts[0].prompt is not None
    assert "of case" in first.attempts[0].prompt[-1]["content"]
