"""A plan that did its task wholly is used again for the same task."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Worker
from tests.fakes import Scripted, in_turn, ladder, make, plan, run, text_of, worker

LINES = (("#1",), ("#2",), ("#3", 1, 2))
TASK = "What was revenue in 2023?\nWhat was profit in 2023?\nCompare the results of the 2."


Rows = Sequence[tuple[Any, ...]]


def wire(rows: Rows) -> str:
    """A plan as a planner writes it: of each subtask the instruction, and the numbers of those it needs."""
    return json.dumps(
        [
            {"n": number, "w": "make", "i": instruction, **({"d": needed} if needed else {})}
            for number, (instruction, *needed) in enumerate(rows, 1)
        ]
    )


def outcome(
    store: BaseStore | None,
    task: str,
    planner: Scripted,
    *,
    sync: bool,
    hopeless: str = "no such word",
    workers: Sequence[Worker] = (),
    **given: Any,
) -> dict[str, Any]:
    def reply(messages: Sequence[BaseMessage]) -> str:
        return "no" if hopeless in text_of(messages) else make(messages)

    tier = Tier(name="planner", model=planner)
    graph = create_orchestrator(
        workers or [worker()], ladder(reply), planner=tier, synthesizer="join", plans=store
    ).compile()
    output: dict[str, Any] = run(graph, {"task": task, **given}, sync=sync)
    return output


def instructions(output: dict[str, Any]) -> list[str]:
    return [row["instruction"] for row in output["final_plan"]["subtasks"]]


def planned(task: str, rows: Rows = LINES) -> tuple[InMemoryStore, Scripted]:
    """A store that knows the plan of a task, and a planner that knows no other."""
    store, planner = InMemoryStore(), Scripted(reply=in_turn(wire(rows)))
    output = outcome(store, task, planner, sync=True, documents=["Revenue was 5."])
    assert (output["failure"], output["plan_source"]) == (None, {"kind": "planner"})
    return store, planner


def is_asked(store: InMemoryStore, task: str, planner: Scripted, *, sync: bool, **options: Any) -> bool:
    """Whether the planner is, which has nothing more to say."""
    calls = planner.calls
    kind = outcome(store, task, planner, sync=sync, **options)["plan_source"]["kind"]
    assert kind == ("fallback" if planner.calls > calls else "stored")
    return planner.calls > calls


@pytest.mark.parametrize(
    "task",
    [
        TASK,
        TASK.replace(" in ", "  in\t").replace("\n", "\n\n"),
        TASK.replace("2023", "2024"),
        TASK.replace("2023?", "1.2.2021?", 1),
    ],
    ids=["same", "white space", "other numbers", "a date"],
)
def test_the_same_task_is_not_planned_again(task: str, sync: bool) -> None:
    store, planner = planned(TASK)
    output = outcome(store, task, planner, sync=sync, documents=["Another one."])
    assert planner.calls == 1
    assert [" ".join(each.split()) for each in instructions(output)] == [
        " ".join(line.split()) for line in task.split("\n") if line
    ]
    assert output["final_plan"]["subtasks"][2]["depends_on"] == ["s1", "s2"]
    source = output["plan_source"]
    assert (source["kind"], output["ledger"]["plan_kept"]) == ("stored", source["kept"])
    assert output["ledger"]["planning"]["calls"] == 0


@pytest.mark.parametrize(
    "task",
    [
        TASK.replace("profit", "loss"),
        TASK.replace("the 2.", "the 3."),  # in a line that works on results
        TASK + "\nSay it.",
        TASK.replace("profit in 2023", "profit in FY2023"),
    ],
)
def test_another_task_is_planned(task: str, sync: bool) -> None:
    store, planner = planned(TASK)
    assert is_asked(store, task, planner, sync=sync)


def test_without_a_store_each_task_is_planned(sync: bool) -> None:
    planner = Scripted(reply=in_turn(wire(LINES), wire(LINES)))
    for _ in range(2):
        outcome(None, TASK, planner, sync=sync)
    assert planner.calls == 2


def test_words_of_the_planner_serve_the_same_words_and_documents_only(sync: bool) -> None:
    task = "Sum up what revenue was in 2023"
    store, planner = planned(task, (("look up Revenue",), ("sum up", 1)))
    documents = ["Revenue was 5."]
    assert not is_asked(store, task, planner, sync=sync, documents=documents)
    for other, given in ((task, ["Profit was 5."]), (task.replace("2023", "2024"), documents)):
        assert is_asked(store, other, planner, sync=sync, documents=given)


def test_two_equal_lines_may_not_differ_later(sync: bool) -> None:
    store, planner = planned("Revenue in 2023?\nRevenue in 2023?", (("#1",), ("#2",)))
    assert is_asked(store, "Revenue in 2023?\nRevenue in 2024?", planner, sync=sync)


def test_a_plan_that_failed_is_not_kept_and_one_that_fails_is_forgotten(sync: bool) -> None:
    store, planner = InMemoryStore(), Scripted(reply=in_turn(wire(LINES), wire(LINES), wire(LINES)))
    assert outcome(store, TASK, planner, sync=sync, hopeless="profit")["failure"]
    assert not outcome(store, TASK, planner, sync=sync)["failure"]
    assert outcome(store, TASK, planner, sync=sync, hopeless="profit")["plan_source"]["kind"] == "stored"
    assert outcome(store, TASK, planner, sync=sync)["plan_source"]["kind"] == "planner"


def test_plans_of_callers_and_fallbacks_are_not_kept(sync: bool) -> None:
    store, planner = InMemoryStore(), Scripted(reply=in_turn("no", "no", wire(LINES)))
    assert outcome(store, TASK, planner, sync=sync)["plan_source"]["kind"] == "fallback"
    assert outcome(store, TASK, planner, sync=sync, plan=plan(a=""))["plan_source"]["kind"] == "given"
    assert outcome(store, TASK, planner, sync=sync)["plan_source"]["kind"] == "planner"


def test_other_workers_get_plans_of_their_own(sync: bool) -> None:
    store, planner = planned(TASK)
    assert is_asked(store, TASK, planner, sync=sync, workers=[replace(worker(), prompt="Do it well.")])


class Broken(InMemoryStore):
    """A store whose database is down."""

    def batch(self, ops: Any) -> Any:
        raise ConnectionError("down")

    async def abatch(self, ops: Any) -> Any:
        raise ConnectionError("down")


def test_a_store_that_fails_fails_no_run(sync: bool) -> None:
    planner = Scripted(reply=in_turn(wire(LINES)))
    assert outcome(Broken(), TASK, planner, sync=sync)["failure"] is None


def test_a_stored_plan_that_cannot_be_read_is_made_anew(sync: bool) -> None:
    store, _ = planned(TASK)
    (item,) = store.search(("stellwerk", "plans"))
    store.put(item.namespace, item.key, {"lines": [], "subtasks": [{"line": 7, "depends_on": []}]})
    planner = Scripted(reply=in_turn(wire(LINES)))
    assert outcome(store, TASK, planner, sync=sync)["plan_source"]["kind"] == "planner"
