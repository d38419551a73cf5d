from collections.abc import Mapping
from typing import Any

import pytest

from stellwerk.graphs import create_orchestrator
from stellwerk.nodes.synthesize import Synthesizer, as_text
from stellwerk.outcome import SubtaskResult
from stellwerk.plan import Plan
from stellwerk.tiers.tier import Price, Tier
from tests.fakes import Scripted, always, broken, job, ladder, make, mark_of, not_asked, plan, run, worker

JOINED = f"{job('a')}\nmade:a of nothing\n\n{job('b')}\nmade:b of nothing"


def merge(
    synthesizer: Synthesizer,
    merger: Scripted,
    needs: Mapping[str, str],
    *,
    sync: bool,
    fail: str = "",
    task: str = "Do it all",
) -> dict[str, Any]:
    """Run a plan whose results `merger` merges, where it is asked."""
    model = Scripted(reply=lambda messages: "no" if mark_of(messages) == fail else make(messages))
    tier = Tier(name="merger", model=merger, price=Price(output=1))
    graph = create_orchestrator([worker()], ladder(model), planner=tier, synthesizer=synthesizer).compile()
    output: dict[str, Any] = run(graph, {"task": task, "plan": plan(**needs)}, sync=sync)
    return output


def test_a_model_merges_what_the_subtasks_gave(sync: bool) -> None:
    merger = Scripted(reply=always(" Both are made.\n"))
    output = merge("model", merger, {"a": "", "b": ""}, sync=sync)
    assert output["answer"] == output["messages"][-1].text == "Both are made."
    (prompt,) = merger.prompts
    for part in ("Do it all", job("a"), "made:a", "made:b"):
        assert part in prompt
    assert output["ledger"]["by_worker"]["synthesize"]["calls"] == 1
    assert output["ledger"]["by_tier"]["merger"]["usd"] == pytest.approx(4 / 1e6)


def test_a_list_of_questions_gets_an_answer_to_each(sync: bool) -> None:
    task = "What was the revenue?\nWrite a line about it."
    output = merge("model", Scripted(reply=not_asked), {"a": "", "b": "a"}, sync=sync, task=task)
    assert output["answer"] == f"{job('a')}\nmade:a of nothing\n\n{job('b')}\nmade:b of a"


def test_one_text_at_the_end_is_the_answer(sync: bool) -> None:
    output = merge("model", Scripted(reply=not_asked), {"a": "", "b": "a"}, sync=sync)
    assert output["answer"] == "made:b of a"
    assert "synthesize" not in output["ledger"]["by_worker"]


@pytest.mark.parametrize("merger", [broken, always(""), always(" \n")])
def test_a_model_that_says_nothing_loses_no_result(merger: Any, sync: bool) -> None:
    output = merge("model", Scripted(reply=merger), {"a": "", "b": ""}, sync=sync)
    assert output["answer"] == f"{job('a')}\nmade:a of nothing\n\n{job('b')}\nmade:b of nothing"
    assert output["failure"] is None
    assert output["ledger"]["by_worker"]["synthesize"]["calls"] == 1


def test_a_model_does_not_write_around_what_is_missing(sync: bool) -> None:
    output = merge("model", Scripted(reply=not_asked), {"a": "", "b": ""}, sync=sync, fail="a")
    assert output["answer"].startswith(f"{job('a')}\n(no result: not_json: the answer is not JSON")
    assert "; 1 attempt by make on small)" in output["answer"]
    assert output["answer"].endswith(f"{job('b')}\nmade:b of nothing")


def test_results_are_joined_in_the_order_of_the_plan(sync: bool) -> None:
    output = merge("join", Scripted(reply=not_asked), {"b": "a", "a": ""}, sync=sync)
    assert output["answer"] == f"{job('b')}\nmade:b of a\n\n{job('a')}\nmade:a of nothing"


def test_a_template_names_subtasks(sync: bool) -> None:
    output = merge("1. {a}; 2. {b}", Scripted(reply=not_asked), {"a": "", "b": ""}, sync=sync)
    assert output["answer"] == "1. made:a of nothing; 2. made:b of nothing"


@pytest.mark.parametrize("template", ["{a} {c}", "{a} {}", "{a", "{a.b}"])
def test_a_template_that_does_not_fit_the_plan_says_which_subtasks_there_are(
    template: str, sync: bool
) -> None:
    output = merge(template, Scripted(reply=not_asked), {"a": "", "b": ""}, sync=sync)
    assert "does not fit the plan" in output["failure"]["synthesizer"]
    assert output["failure"]["message"].endswith("its subtasks: a, b)")
    assert output["answer"] == JOINED


def raises(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> str:
    return str(results["z"])


def gives_none(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> Any:
    return None


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (raises, "KeyError: 'z'"),
        (gives_none, "ConfigurationError: the synthesizer gave something of type NoneType"),
    ],
)
def test_a_function_that_fails_loses_no_result(function: Synthesizer, why: str, sync: bool) -> None:
    output = merge(function, Scripted(reply=not_asked), {"a": "", "b": ""}, sync=sync)
    assert (output["answer"], output["messages"][-1].text) == (JOINED, JOINED)
    assert output["failure"]["synthesizer"].startswith(why)
    assert output["failure"]["missing"] == {}
    failed = merge(function, Scripted(reply=not_asked), {"a": "", "b": ""}, sync=sync, fail="a")["failure"]
    assert (list(failed["missing"]), failed["subtasks"]["a"]["attempts"]) == (["a"], 1)
    assert failed["message"].startswith("1 of 2 subtasks done; missing: a; the results are joined, as ")


def test_a_function_gets_the_task_the_plan_and_the_results(sync: bool) -> None:
    def count(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> str:
        good = sum(result["status"] == "accepted" for result in results.values())
        return f"{task}: {good} of {len(plan.subtasks)}"

    output = merge(count, Scripted(reply=not_asked), {"a": "", "b": "a"}, sync=sync, fail="b")
    assert output["answer"] == "Do it all: 1 of 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"text": "a text", "label": "x"}, "a text"),
        ({"answer": "12.5", "unit": "million"}, "12.5 million"),
        ({"answer": "12.5", "unit": ""}, "12.5"),
        ({"answer": ["a", "b"]}, "a, b"),
        ({"answer": ["5", "7"], "unit": "million"}, "5, 7 million"),
        ({"label": "refund"}, "refund"),
        ({"größe": 3}, '{"größe": 3}'),
        ([1, 2], "[1, 2]"),
    ],
)
def test_a_value_is_shown_as_a_person_reads_it(value: Any, text: str) -> None:
    assert as_text(value) == text
