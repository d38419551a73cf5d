"""What a person is told while a run goes on, where it is planned anew or by a plan of before."""

from io import StringIO
from typing import Any

from rich.console import Console

from stellwerk.cli.render import failure_lines, ledger_notes
from stellwerk.graphs.progress import Progress
from stellwerk.ledger import LedgerRecord, draw_up
from stellwerk.outcome import Call, SubtaskResult, Usage
from tests.fakes import plan


def planned(**result: Any) -> dict[str, Any]:
    return {"name": "supervisor", "id": "1", "result": result}


def test_a_plan_that_is_replaced_in_part_keeps_what_is_done() -> None:
    progress = Progress()
    progress.restore(plan(a="", b=""), [])
    done = SubtaskResult(id="a", worker="make", status="accepted", value={"text": "x"}, attempts=[])
    progress.restore(plan(a="", b=""), [done])
    said = list(progress.feed((), planned(final_plan=plan(a="", c="a"), round=1)))
    assert said == ["planned anew: 1 subtask for what gave no result"]
    assert {name: row.state for name, row in progress.rows.items()} == {"a": "accepted", "c": "waiting"}


def test_a_plan_that_is_used_again_says_from_when_it_is() -> None:
    source = {"kind": "stored", "key": "k", "kept": "2026-01-02T03:04:05+00:00"}
    said = list(Progress().feed((), planned(final_plan=plan(a=""), round=0, plan_source=source)))
    assert said == ["the plan kept at 2026-01-02 03:04 UTC is used again", "plan: 1 subtask"]


def notes(ledger: LedgerRecord) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(ledger_notes(ledger))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_planning_has_a_line_of_its_own() -> None:
    usage = Usage(input=1500, cached=0, output=50)
    call = Call(step="plan", owner="supervisor", tier="large", usage=usage, seconds=2.0)
    ledger = draw_up([call, {**call, "replan": 1}], [], {"large": None}, large="large", wall_seconds=9)
    said = notes(ledger)
    assert "4.0 s, 3,000 tokens in, 100 out, unpriced" in said
    assert "1 after the first plan" in said
    again = draw_up([], [], {"large": None}, large="large", wall_seconds=9)
    assert "no call" in notes(again)
    again["plan_kept"] = "2026-01-02T03:04:05+00:00"
    assert "no call; the plan kept at 2026-01-02 03:04 UTC was used again" in notes(again)


def test_a_failure_says_who_tried_and_how_often() -> None:
    tried = {"worker": "make", "attempts": 2, "tier": "large", "reasons": ["check", "tier"]}
    failure = {"message": "0 of 1 subtasks done", "missing": {"a": "tier: down"}, "subtasks": {"a": tried}}
    assert failure_lines(failure)[1] == "  a (make, 2 attempts, the last on large: check, tier): tier: down"
    del failure["subtasks"]  # as an older version stored it
    assert failure_lines(failure)[1] == "  a: tier: down"
