"""Function calls: simple calls of the Berkeley Function-Calling Leaderboard.

The rails of `call_function` were written on rows 0 to 99, which are not used, and one of them on rows 100 to
159, which are only learned from. Rows with functions of the same name stay on one side of a split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from benchmarks.rails.accepted import problem
from benchmarks.rails.cases import REPORTED, Case, as_json_schema, load_cases
from benchmarks.routing_local.jobs import Item, Job, Part
from stellwerk.workers import call_function_worker

TRACK = "bfcl"
SEED = 4
FIRST = 100  # the rows before were developed on
HELD_OUT = 100  # rows that only come from those that are reported elsewhere, too


def load_calls() -> list[Case]:
    """The rows, shuffled by the name of their function; the first `HELD_OUT` are fit to be reported.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder lacks a file.
    """
    by_function: dict[str, list[Case]] = {}
    for case in load_cases("simple", range(FIRST, REPORTED["simple"].stop)):
        by_function.setdefault(case.functions[0]["name"], []).append(case)
    names = sorted(by_function)
    random.Random(SEED).shuffle(names)
    head: list[Case] = []
    tail: list[Case] = []
    for name in names:
        cases = by_function[name]
        fit = all(case.row in REPORTED["simple"] for case in cases)
        (head if fit and len(head) + len(cases) <= HELD_OUT else tail).extend(cases)
    return [*head, *tail]


def call_jobs(part: Part, start: int, count: int) -> Iterator[Job]:
    """Jobs of one call each: `count` of them, from the `start`-th of the shuffled ones on."""
    for case in load_calls()[start : start + count]:
        functions = [as_json_schema(function) for function in case.functions]
        yield Job(
            name=f"{TRACK}/{case.row}",
            track=TRACK,
            part=part,
            unit=TRACK,
            workers=[call_function_worker(functions)],
            items=[_item(case)],
        )


def _item(case: Case) -> Item:
    def right(value: Any) -> float:
        assert case.truth is not None
        return float(problem(value["function"], value["arguments"], case.functions, case.truth) is None)

    return Item(
        key=f"{TRACK}/{case.row}",
        worker="call_function",
        instruction=case.request,
        right=right,
        group=f"{TRACK}/{case.functions[0]['name']}",
    )
