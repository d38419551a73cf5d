from typing import Any

import pytest

from benchmarks.rails.accepted import problem
from benchmarks.rails.cases import DEVELOPED, REPORTED
from benchmarks.rails.report import exact_interval, mcnemar, summarise

FUNCTION: dict[str, Any] = {
    "name": "f",
    "parameters": {
        "properties": {
            "n": {"type": "integer"},
            "x": {"type": "float"},
            "s": {"type": "string"},
            "l": {"type": "array", "items": {"type": "float"}},
            "d": {"type": "dict"},
            "b": {"type": "boolean"},
        },
        "required": ["n"],
    },
}
TRUTH: dict[str, dict[str, list[Any]]] = {
    "f": {
        "n": [3],
        "x": [2.0, ""],
        "s": ["New York, NY", "NYC", ""],
        "l": [[1.0, 2.5], ""],
        "d": [{"a": [1], "b": ["x", ""]}, ""],
        "b": [True, ""],
    }
}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"n": 3}, None),
        ({"n": 4}, "n is 4"),
        ({"n": "3"}, "n is '3'"),
        ({"n": 3.0}, "n is 3.0"),
        ({"n": True}, "n is True"),
        ({}, "n is missing"),
        ({"n": 3, "z": 1}, "z was not expected"),
        ({"n": 3, "x": 2}, None),
        ({"n": 3, "x": "2"}, "x is '2'"),
        ({"n": 3, "s": "new york ny"}, None),
        ({"n": 3, "s": "New York"}, "s is"),
        ({"n": 3, "l": [1, 2.5]}, None),
        ({"n": 3, "l": [2.5, 1]}, "l is"),
        ({"n": 3, "l": ["1", 2.5]}, "l is"),
        ({"n": 3, "d": {"a": 1}}, None),
        ({"n": 3, "d": {"a": 1, "b": "X"}}, None),
        ({"n": 3, "d": {"b": "x"}}, "d is"),
        ({"n": 3, "b": 1}, "b is 1"),
    ],
)
def test_a_call_is_judged_by_the_published_rules(arguments: dict[str, Any], wrong: str | None) -> None:
    found = problem("f", arguments, [FUNCTION], TRUTH)
    assert found is None if wrong is None else wrong in (found or "")


def test_an_optional_argument_that_counts_must_be_there() -> None:
    truth: dict[str, dict[str, list[Any]]] = {"f": {"n": [3], "s": ["NYC"]}}
    assert "s was left out" in (problem("f", {"n": 3}, [FUNCTION], truth) or "")
    assert "g in place of f" in (problem("g", {"n": 3}, [FUNCTION], truth) or "")


def test_no_row_is_both_developed_on_and_reported() -> None:
    assert all(not set(DEVELOPED[task]) & set(REPORTED[task]) for task in REPORTED)


def test_intervals_and_tests_are_exact() -> None:
    # Clopper and Pearson for 8 of 10, and for none and all; the binomial tail for 1 of 8.
    assert exact_interval(8, 10)[1:] == pytest.approx([0.4439, 0.9748], abs=1e-4)
    assert exact_interval(0, 10)[1:] == pytest.approx([0.0, 0.3085], abs=1e-4)
    assert exact_interval(10, 10)[1:] == pytest.approx([0.6915, 1.0], abs=1e-4)
    assert mcnemar(1, 7) == pytest.approx(18 / 256)
    assert mcnemar(0, 0) == 1.0


def test_arms_are_compared_on_the_rows_they_share() -> None:
    def row(arm: str, key: int, correct: bool) -> dict[str, Any]:
        plain = {"calls": 1, "input": 1, "output": 1, "seconds": 1.0, "reason": "", "valid": True}
        return {"task": "simple", "model": "m", "arm": arm, "key": str(key), "correct": correct, **plain}

    rows = [row("all", key, True) for key in range(6)] + [row("plain", key, key > 1) for key in range(4)]
    pair = summarise(rows)[1]["against"]
    assert (pair["n"], pair["lost"], pair["won"]) == (4, 2, 0)
    assert pair["difference"][0] == -0.5
    turned = summarise(rows, against="plain")
    assert "against" not in turned[1]
    assert (turned[0]["against"]["lost"], turned[0]["against"]["won"]) == (0, 2)
