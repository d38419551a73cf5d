import json
from collections.abc import Sequence
from typing import Any

import pytest

from stellwerk.errors import PlanError
from stellwerk.nodes.plan_wire import read_plan, written
from stellwerk.plan import Plan

LINES = ("What is a?", "What is b?", "Write about both.")


def rows(subtasks: Sequence[Any], known: Sequence[str] = ()) -> list[tuple[str, str, str, list[str]]]:
    draft = read_plan(json.dumps({"subtasks": subtasks}), LINES, known)
    return [(row["id"], row["worker"], row["instruction"], row["depends_on"]) for row in draft["subtasks"]]


def short(number: int, line: int, *needed: int, worker: str = "look") -> dict[str, Any]:
    return {"n": number, "w": worker, "i": f"#{line}"} | ({"d": list(needed)} if needed else {})


def test_the_short_form_is_read_as_the_long_one() -> None:
    assert rows([short(1, 1), short(2, 2), short(3, 3, 1, 2, 1, worker="write")]) == [
        ("s1", "look", "What is a?", []),
        ("s2", "look", "What is b?", []),
        ("s3", "write", "Write about both.", ["s1", "s2"]),
    ]


def test_what_is_written_is_read_again() -> None:
    subtasks = Plan.parse(read_plan(json.dumps([short(1, 1), short(2, 3, 1)]), LINES)).subtasks
    text = written(subtasks, {"s1": 1, "s2": 2})
    assert Plan.parse(read_plan(text, LINES)).subtasks == subtasks
    assert text.count('"d"') == 1


def test_a_number_may_be_left_out_or_miscounted() -> None:
    assert [row[0] for row in rows([short(1, 1), short(1, 3, 1)])] == ["s1", "s2"]
    assert [row[0] for row in rows([{"w": "look", "i": "x"}, short(7, 3)])] == ["s1", "s2"]
    assert [(row[0], row[3]) for row in rows([short(2, 1), short(5, 3, 2)])] == [("s2", []), ("s5", ["s2"])]


def test_numbers_lead_to_what_there_is_already() -> None:
    (new,) = rows([short(3, 3, 1)], known=["profit", "growth"])
    assert new == ("s3", "look", "Write about both.", ["profit"])
    (renumbered,) = rows([short(1, 3, 2)], known=["profit", "growth"])
    assert renumbered == ("s3", "look", "Write about both.", ["growth"])
    (beside,) = rows([short(2, 3, 1)], known=["s2"])
    assert beside == ("sn2", "look", "Write about both.", ["s2"])


@pytest.mark.parametrize(
    "wrong", [[3], [{"w": "look"}], [{"w": "look", "i": "x", "d": "1"}], [short(1, 3, 9)]]
)
def test_what_makes_no_subtask_is_refused_with_a_reason(wrong: list[Any]) -> None:
    with pytest.raises(PlanError, match="subtask"):
        Plan.parse(read_plan(json.dumps(wrong), LINES))
