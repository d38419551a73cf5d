"""The collection of local traces, with scripted models in place of real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from benchmarks.routing_local.collect import arms_of, collect, run_job
from benchmarks.routing_local.explore import GO_ON, SMALLEST, Exploring
from benchmarks.routing_local.jobs import Item, Job, Part
from benchmarks.routing_local.records import EXPLORE, load_records, packed, save_records
from stellwerk.budget import Budget
from stellwerk.errors import DocumentError, TierTimeoutError
from stellwerk.persistence.traces import TraceStore
from stellwerk.plan import Plan
from stellwerk.tiers.ladder import Ladder
from stellwerk.workers import classify_worker
from tests import fakes

TIERS = ("small", "medium", "large")


def parity_job(name: str, numbers: Sequence[int], part: Part = "held-out") -> Job:
    """Is a number odd or even? The document does not matter."""

    def item(number: int) -> Item:
        gold = "odd" if number % 2 else "even"
        return Item(
            key=f"parity/{number}",
            worker="classify",
            instruction=f"number {number}",
            right=lambda value: float(value["label"] == gold),
            group=f"parity/{number}",
        )

    return Job(
        name=name,
        track="parity",
        part=part,
        unit="parity",
        workers=[classify_worker(["odd", "even"])],
        items=[item(number) for number in numbers],
    )


def parity_ladder(*, crash_at: int | None = None) -> tuple[Ladder, list[tuple[str, int]]]:
    """The small model says odd to all, the medium one fails its checks, the large one knows."""
    asked: list[tuple[str, int]] = []

    def says(tier: str) -> Any:
        def reply(messages: Sequence[BaseMessage]) -> str:
            number = int(fakes.text_of(messages).split("number ")[1].split("\n")[0])
            if number == crash_at:
                raise fakes.Crash
            asked.append((tier, number))
            if tier == "medium":
                return '{"label": "neither"}'
            return json.dumps({"label": "odd" if tier == "small" or number % 2 else "even"})

        return reply

    return fakes.ladder(*(says(tier) for tier in TIERS)), asked


@pytest.fixture
def traces(tmp_path: Path) -> Any:
    with TraceStore.from_url(tmp_path / "traces.sqlite") as store:
        yield store


def test_a_held_out_job_runs_on_every_tier_and_its_answers_are_judged(
    traces: TraceStore, tmp_path: Path
) -> None:
    ladder, _ = parity_ladder()
    path = tmp_path / "records.jsonl"

    said = list(collect([[parity_job("a", [1, 2])]], ladder, traces, path))

    assert [line.split(";")[0].split(",")[0] for line in said] == [
        "1/3 a held-out small: 1 of 2 right",
        "2/3 a held-out medium: 0 of 2 right",
        "3/3 a held-out large: 2 of 2 right",
    ]
    records = {(record.key, record.arm): record for record in load_records(path)}
    assert records.keys() == {(f"parity/{number}", tier) for number in (1, 2) for tier in TIERS}
    (wrong,) = records["parity/2", "small"].tries
    assert (wrong.accepted, wrong.right, wrong.propensity) == (True, 0.0, 1.0)
    (refused,) = records["parity/2", "medium"].tries
    assert (refused.accepted, refused.reason, refused.answer, len(refused.calls)) == (False, "schema", "", 2)
    (right,) = records["parity/2", "large"].tries
    assert right.right == 1.0
    assert right.answer != wrong.answer
    assert right.usd == pytest.approx(right.calls[0].input * 1e-4 + right.calls[0].output * 2e-4)
    feedback = {said["trace_id"]: said for said in traces.feedback()}
    assert len(feedback) == 6
    assert (feedback[wrong.trace_id]["label"], feedback[wrong.trace_id]["source"]) == ("wrong", "gold")
    assert "number" not in path.read_text()  # no text of the data leaves with the records


def test_a_collection_that_was_killed_goes_on_where_it_was(traces: TraceStore, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    blocks = [[parity_job("a", [1, 2])], [parity_job("b", [3, 4])]]
    ladder, asked = parity_ladder(crash_at=4)
    with pytest.raises(fakes.Crash):
        list(collect(blocks, ladder, traces, path))
    with path.open("a") as file:
        file.write('{"key": "parity/3", "jo')  # the process died while it wrote
    assert ("small", 3) in asked

    ladder, asked = parity_ladder()
    list(collect(blocks, ladder, traces, path))

    assert {number for _, number in asked} == {3, 4}
    records = load_records(path)
    assert len({(record.key, record.arm) for record in records}) == len(records) == 12
    judged = {said["trace_id"] for said in traces.feedback()}
    assert judged == {one.trace_id for record in records for one in record.tries}
    assert len(list(traces.attempts())) == 13  # one of the run that was killed
    ladder, asked = parity_ladder()
    assert list(collect(blocks, ladder, traces, path)) == []
    assert asked == []


def test_the_time_is_kept(traces: TraceStore, tmp_path: Path) -> None:
    ladder, asked = parity_ladder()
    (said,) = collect([[parity_job("a", [1])]], ladder, traces, tmp_path / "r.jsonl", seconds=0)
    assert said == "the time is up with 3 of 3 to run"
    assert asked == []


def test_what_found_the_machine_busy_is_run_again(traces: TraceStore, tmp_path: Path) -> None:
    busy = {"small": 1}

    def small(messages: Sequence[BaseMessage]) -> str:
        if busy["small"]:
            busy["small"] -= 1
            raise TierTimeoutError("no answer in time")
        return '{"label": "odd"}'

    path = tmp_path / "records.jsonl"
    ladder = fakes.ladder(small, fakes.always('{"label": "odd"}'))
    said = list(collect([[parity_job("a", [1])]], ladder, traces, path))

    assert [line.split(": ")[1].split(",")[0] for line in said] == ["timeout", "1 of 1 right", "1 of 1 right"]
    assert [(record.arm, record.tries[0].accepted) for record in load_records(path)] == [
        ("large", True),
        ("small", True),
    ]


def test_records_are_packed_without_what_only_this_machine_knows(traces: TraceStore) -> None:
    ladder, _ = parity_ladder()
    records = run_job(parity_job("a", [2, 1]), "small", ladder, traces)
    again = packed([*records, *records])
    assert [record.key for record in again] == ["parity/1", "parity/2"]
    assert {one.trace_id for record in again for one in record.tries} == {""}


def test_explored_rows_log_the_chance_of_each_tier(traces: TraceStore) -> None:
    ladder, _ = parity_ladder()
    job = parity_job("a", range(200), part="explored")
    assert arms_of(job, ladder) == [EXPLORE]

    records = run_job(job, EXPLORE, ladder, traces)

    first = [record.tries[0] for record in records]
    small = sum(one.tier == "small" for one in first) / len(first)
    share = SMALLEST + (1 - SMALLEST) / 3
    assert small == pytest.approx(share, abs=0.1)
    for one in first:
        assert one.propensity == pytest.approx(share if one.tier == "small" else (1 - SMALLEST) / 3)
    for record in records:
        for before, after in zip(record.tries, record.tries[1:], strict=False):
            assert TIERS.index(after.tier) == TIERS.index(before.tier) + 1
            assert after.propensity == (GO_ON if before.accepted else 1.0)
        assert record.stopped == (1.0 if record.tries[-1].tier == "large" else 1 - GO_ON)
    again = run_job(job, EXPLORE, parity_ladder()[0], traces)
    ways = [[[one.tier for one in record.tries] for record in run] for run in (records, again)]
    assert ways[0] == ways[1]


def test_a_drawn_way_does_not_depend_on_what_ran_before() -> None:
    ladder, _ = parity_ladder()
    job = parity_job("a", range(20))
    worker = job.workers[0]
    subtasks = Plan.parse(job.plan()).subtasks
    one = [Exploring(1).decide(subtask, worker, ladder, Budget(), []).tier for subtask in subtasks]
    other = [Exploring(1).decide(subtask, worker, ladder, Budget(), []).tier for subtask in subtasks[::-1]]
    assert one == other[::-1]
    assert len(set(one)) == 3


def test_records_come_back_from_a_compressed_file(traces: TraceStore, tmp_path: Path) -> None:
    ladder, _ = parity_ladder()
    records = run_job(parity_job("a", [1, 2]), "small", ladder, traces)
    path = tmp_path / "records.jsonl.gz"
    save_records(path, records)
    first = path.read_bytes()
    assert load_records(path) == records
    save_records(path, records)
    assert path.read_bytes() == first
    with pytest.raises(DocumentError, match="does not exist"):
        load_records(tmp_path / "other.jsonl")
