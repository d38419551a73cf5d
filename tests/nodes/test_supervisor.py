import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from stellwerk.errors import ContextOverflowError, DocumentError, InputError, PlanError, TierAccessError
from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from tests.fakes import (
    Scripted,
    broken,
    in_turn,
    job,
    ladder,
    made,
    make,
    mark_of,
    not_asked,
    plan,
    run,
    subtask,
    values,
    worker,
)

WORKERS = [worker("look"), worker("make")]
GOOD = json.dumps(plan(a="", b="a"))


def orchestrate(planner: Scripted, given: dict[str, Any], *, sync: bool, **options: Any) -> dict[str, Any]:
    """Run a task whose plan comes from `planner`; the work is done by `make`."""
    tier = Tier(name="planner", model=planner)
    graph = create_orchestrator(WORKERS, ladder(make), planner=tier, synthesizer="join", **options).compile()
    output: dict[str, Any] = run(graph, given, sync=sync)
    return output


def planned(output: dict[str, Any]) -> list[tuple[str, str, str, list[str]]]:
    return [
        (row["id"], row["worker"], row["instruction"], row["depends_on"])
        for row in output["final_plan"]["subtasks"]
    ]


def planning(output: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = output["ledger"]["by_worker"]["supervisor"]
    return line


def test_a_good_plan_is_carried_out(sync: bool) -> None:
    planner = Scripted(reply=in_turn(GOOD))
    output = orchestrate(planner, {"task": "Do it", "documents": ["Revenue was 5."]}, sync=sync)
    assert planned(output) == [("a", "make", job("a"), []), ("b", "make", job("b"), ["a"])]
    assert values(output) == {"a": made("a"), "b": made("b", "a")}
    assert planner.calls == planning(output)["calls"] == 1
    assert output["failure"] is None


def test_the_planner_sees_the_task_the_workers_and_the_beginnings_of_documents(sync: bool) -> None:
    planner = Scripted(reply=in_turn(GOOD))
    document = {"name": "report.txt", "text": "Revenue was 5. " + "x" * 5_000 + "THE END"}
    orchestrate(planner, {"task": "Do it", "documents": [document]}, sync=sync)
    (prompt,) = planner.prompts
    for part in ("Do it", "does look", "does make", "report.txt", "Revenue was 5."):
        assert part in prompt
    assert "THE END" not in prompt


def test_the_answer_of_the_planner_is_bound_to_the_workers_and_the_size(sync: bool) -> None:
    planner = Scripted(reply=in_turn(GOOD))
    orchestrate(planner, {"task": "Do it"}, sync=sync, max_subtasks=7, max_tokens=99)
    (options,) = planner.options
    schema = options["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["subtasks"]["maxItems"] == 7
    assert schema["properties"]["subtasks"]["items"]["properties"]["w"]["enum"] == ["look", "make"]
    assert options["max_tokens"] == 99


REFUSED = {
    "not JSON": ("Sure! First we", "the plan is not JSON"),
    "cut off": (GOOD[:40], "the plan is not JSON"),
    "a number without end": ("1" * 5_000, "the plan is not JSON"),
    "no list": ('{"subtasks": 3}', "subtasks: "),
    "null": ('{"subtasks": null}', "subtasks: "),
    "no plan": ("3", "subtasks: "),
    "empty": ('{"subtasks": []}', "no subtask"),
    "unknown worker": (json.dumps([subtask("a", worker="lok")]), "unknown worker 'lok'; did you mean 'look'"),
    "cycle": (json.dumps(plan(a="b", b="a")), "in a circle"),
    "dangling": (json.dumps(plan(a="z")), "'a' depends on 'z', which is not in the plan"),
    "too many": (json.dumps(plan(a="", b="", c="", d="")), "4 subtasks; the limit is 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_plan_is_asked_for_again_with_the_error(case: str, sync: bool) -> None:
    bad, problem = REFUSED[case]
    planner = Scripted(reply=in_turn(bad, GOOD))
    output = orchestrate(planner, {"task": "Do it"}, sync=sync, max_subtasks=3)
    assert values(output) == {"a": made("a"), "b": made("b", "a")}
    assert problem not in planner.prompts[0]
    assert problem in planner.prompts[1]
    assert planning(output)["calls"] == 2


@pytest.mark.parametrize("case", REFUSED)
def test_two_bad_plans_leave_the_whole_task_to_the_fallback(case: str, sync: bool) -> None:
    planner = Scripted(reply=in_turn(REFUSED[case][0], REFUSED[case][0]))
    output = orchestrate(planner, {"task": job("all")}, sync=sync, max_subtasks=3, fallback="look")
    assert planned(output) == [("task", "look", job("all"), [])]
    assert values(output) == {"task": made("all")}
    assert planner.calls == 2


def test_the_last_worker_is_the_fallback_unless_told(sync: bool) -> None:
    output = orchestrate(Scripted(reply=in_turn("no", "no")), {"task": job("all")}, sync=sync)
    assert planned(output) == [("task", "make", job("all"), [])]


def test_a_dead_planner_leaves_the_whole_task_to_the_fallback(sync: bool) -> None:
    output = orchestrate(Scripted(reply=broken), {"task": job("all")}, sync=sync)
    assert values(output) == {"task": made("all")}
    assert output["failure"] is None
    assert (planning(output)["calls"], planning(output)["output"]) == (2, 0)


class DeniedError(Exception):
    """As the clients of hosted APIs raise it."""

    status_code = 401

    def __str__(self) -> str:
        return "Incorrect API key"


def test_a_planner_whose_key_is_wrong_is_asked_once_and_ends_the_run(sync: bool) -> None:
    def denied(messages: Sequence[BaseMessage]) -> str:
        raise DeniedError

    planner = Scripted(reply=denied)
    with pytest.raises(
        TierAccessError, match=r"'planner' gave no answer: .*Incorrect API key; check the tier"
    ):
        orchestrate(planner, {"task": job("all")}, sync=sync)
    assert planner.calls == 1


def test_a_task_too_long_for_the_planner_is_an_error_with_the_numbers(sync: bool) -> None:
    planner = Scripted(reply=not_asked)
    with pytest.raises(ContextOverflowError, match=r"characters.*tier 'planner' holds"):
        orchestrate(planner, {"task": "x" * 900_000}, sync=sync)
    assert planner.calls == 0


def test_a_task_of_10_mb_is_refused_with_the_numbers(sync: bool) -> None:
    with pytest.raises(
        InputError, match="10,000,000 characters; the limit is 1,000,000: pass texts as documents"
    ):
        orchestrate(Scripted(reply=not_asked), {"task": "x" * 10_000_000}, sync=sync)


def test_a_long_task_may_fall_back_and_may_be_pointed_at(sync: bool) -> None:
    task = f"{'x' * 50_000} {job('a')}"
    output = orchestrate(Scripted(reply=broken), {"task": task}, sync=sync)
    assert values(output) == {"task": made("a")}
    pointing = json.dumps([subtask("a") | {"instruction": "#1"}])
    output = orchestrate(Scripted(reply=in_turn(pointing)), {"task": task}, sync=sync)
    assert planned(output)[0][2] == task


def test_a_number_stands_for_a_line_of_the_task(sync: bool) -> None:
    task = f"Answer these:\n\n  {job('one')}  \n{job('two')}\n"
    subtasks = [
        subtask("a") | {"instruction": "#2"},
        subtask("b") | {"instruction": "Line #3, and #9"},
        subtask("c") | {"instruction": "#" + "9" * 5_000},
    ]
    for reply in (json.dumps({"subtasks": subtasks}), json.dumps(subtasks)):
        output = orchestrate(Scripted(reply=in_turn(reply)), {"task": task}, sync=sync)
        instructions = [instruction for _, _, instruction, _ in planned(output)]
        assert instructions[:2] == [job("one"), f"Line {job('two')}, and #9"]
        assert instructions[2].startswith("#999")


def test_a_question_that_no_subtask_is_about_is_asked_for(sync: bool) -> None:
    task = f"What is {job('one')}?\nWhat is {job('two')}?"
    short = json.dumps({"subtasks": [subtask("a") | {"instruction": "#1"}]})
    whole = json.dumps(
        {"subtasks": [subtask(name) | {"instruction": f"#{n}"} for n, name in ((1, "a"), (2, "b"))]}
    )
    planner = Scripted(reply=in_turn(short, whole))
    output = orchestrate(planner, {"task": task}, sync=sync)
    assert "no subtask is about #2; add one for each" in planner.prompts[1]
    assert [instruction for _, _, instruction, _ in planned(output)] == task.split("\n")


def test_a_question_that_speaks_of_no_result_waits_for_none(sync: bool) -> None:
    task = f"What is {job('a')}?\nWhat is {job('b')}?\nWhich of the two is {job('c')}?\nSay {job('d')}."
    subtasks = [
        subtask(name, *needs) | {"instruction": f"#{number}"}
        for number, (name, needs) in enumerate(
            {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("c",)}.items(), 1
        )
    ]
    output = orchestrate(
        Scripted(reply=in_turn(json.dumps({"subtasks": subtasks}))), {"task": task}, sync=sync
    )
    assert [needs for *_, needs in planned(output)] == [[], [], ["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("task", "least", "pattern"),
    [
        ("Do it", 1, ".+"),
        ("What is a?\nWhat is b?", 2, "#(2|1)( #(2|1))*(: .{1,300})?"),
        ("A task that goes on\non a second line.", 1, "#(2|1)( #(2|1))*(: .{1,300})?"),
    ],
)
def test_instructions_point_at_the_lines_of_a_task(task: str, least: int, pattern: str) -> None:
    planner = Scripted(reply=in_turn(GOOD, GOOD))
    orchestrate(planner, {"task": task}, sync=True)
    plans = planner.options[0]["response_format"]["json_schema"]["schema"]["properties"]["subtasks"]
    assert plans["minItems"] == least
    assert plans["items"]["properties"]["i"]["pattern"] == f"^{pattern}$"


def test_a_plan_given_by_the_caller_asks_no_planner(sync: bool) -> None:
    planner = Scripted(reply=not_asked)
    output = orchestrate(planner, {"task": "Do #1", "plan": plan(a="", b="a")}, sync=sync)
    assert values(output) == {"a": made("a"), "b": made("b", "a")}
    assert planner.calls == 0
    assert "supervisor" not in output["ledger"]["by_worker"]


@pytest.mark.parametrize("empty", [None, {}, []])
def test_an_empty_plan_is_no_plan(empty: Any, sync: bool) -> None:
    """A form sends its empty fields along."""
    output = orchestrate(Scripted(reply=in_turn(GOOD)), {"task": "Do it", "plan": empty}, sync=sync)
    assert values(output) == {"a": made("a"), "b": made("b", "a")}


def test_a_given_plan_is_taken_word_for_word(sync: bool) -> None:
    given = {"subtasks": [subtask("a") | {"instruction": f"#1 {job('a')}"}]}
    output = orchestrate(Scripted(reply=not_asked), {"task": "Do it", "plan": given}, sync=sync)
    assert planned(output)[0][2] == f"#1 {job('a')}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (plan(a="b", b="a"), "in a circle"),
        (plan(a="z"), "'a' depends on 'z'"),
        ({"subtasks": [subtask("a", worker="lok")]}, "unknown worker 'lok'; did you mean 'look'"),
        ({"subtasks": []}, "no subtask"),
        ({"steps": []}, "subtasks: Field required"),
    ],
)
def test_a_bad_plan_given_by_the_caller_is_the_callers_error(given: Any, message: str, sync: bool) -> None:
    planner = Scripted(reply=not_asked)
    with pytest.raises(PlanError, match=message):
        orchestrate(planner, {"task": "Do it", "plan": given}, sync=sync)
    assert planner.calls == 0


@pytest.mark.parametrize(
    "given", [{"task": ""}, {"task": " \n"}, {"messages": []}, {"documents": ["x"]}, {"task": 3}]
)
def test_a_task_that_says_nothing_is_refused(given: dict[str, Any], sync: bool) -> None:
    with pytest.raises(InputError, match="the task is empty"):
        orchestrate(Scripted(reply=not_asked), given, sync=sync)


def test_a_document_that_is_none_is_refused_before_any_call(sync: bool) -> None:
    with pytest.raises(DocumentError, match="has no text"):
        orchestrate(Scripted(reply=not_asked), {"task": "go", "documents": [{"name": "a"}]}, sync=sync)


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage(job("b"))],
        [{"role": "user", "content": job("b")}],
        [HumanMessage(job("a")), AIMessage("done"), HumanMessage(job("b")), AIMessage("wait")],
        [HumanMessage([{"type": "text", "text": job("b")}])],
    ],
    ids=["message", "mapping", "conversation", "parts"],
)
def test_the_last_thing_a_person_said_is_the_task(messages: Sequence[Any], sync: bool) -> None:
    def one(messages: Sequence[BaseMessage]) -> str:
        return json.dumps([subtask(mark_of(messages))])

    output = orchestrate(Scripted(reply=one), {"messages": messages}, sync=sync)
    assert values(output) == {"b": made("b")}
    assert output["messages"][-1].text == output["answer"]


def test_the_planner_is_the_largest_tier_unless_told(sync: bool) -> None:
    small, large = Scripted(reply=make), Scripted(reply=in_turn(GOOD))
    graph = create_orchestrator(WORKERS, Ladder(ladder(small, large)), synthesizer="join").compile()
    output = run(graph, {"task": "Do it"}, sync=sync)
    assert output["failure"] is None
    assert (small.calls, large.calls) == (2, 1)


def test_a_worker_that_claims_a_job_gets_it_unless_it_waits_for_results(sync: bool) -> None:
    claiming = [
        replace(worker("look"), claims=lambda brief: "look" in brief.instruction),
        replace(worker("make"), claims=lambda brief: "make" in brief.instruction),
        worker("write"),
    ]
    asked = [
        (subtask("a", worker="make"), "look it up"),
        (subtask("b", worker="write"), "look at it"),
        (subtask("c", "a", worker="make"), "look again"),
        (subtask("d", worker="look"), "look and make"),
    ]
    rows = [{**row, "instruction": f"{row['instruction']} {words}"} for row, words in asked]
    draft = {"subtasks": rows}
    planner = Tier(name="planner", model=Scripted(reply=in_turn(json.dumps(draft))))
    graph = create_orchestrator(claiming, ladder(make), planner=planner, synthesizer="join").compile()
    output: dict[str, Any] = run(graph, {"task": "Do it"}, sync=sync)
    assert [row["worker"] for row in output["final_plan"]["subtasks"]] == ["look", "write", "make", "look"]
