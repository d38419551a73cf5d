"""What failed is planned anew, and what is accepted is kept."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError
from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.tier import Price, Tier
from stellwerk.worker import Worker
from tests.fakes import (
    Crash,
    Reply,
    Scripted,
    always,
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

THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
GIVE_UP = '{"subtasks": []}'
FIRST = {"a": "", "b": "", "c": "a b"}  # where b is hopeless


def hopeless(*marks: str) -> Scripted:
    return Scripted(reply=lambda messages: "no" if mark_of(messages) in marks else make(messages))


def reply(**needs: str) -> str:
    return json.dumps(plan(**needs))


def orchestrator(
    model: Scripted,
    planner: Reply | Scripted,
    *,
    workers: Sequence[Worker] = (),
    checkpointer: Any = None,
    replans: int = 1,
    **options: Any,
) -> Any:
    chat = planner if isinstance(planner, Scripted) else Scripted(reply=planner)
    tier = Tier(name="planner", model=chat, price=Price(output=1))
    graph = create_orchestrator(
        workers or [worker(), worker("other")],
        ladder(model),
        planner=tier,
        synthesizer="join",
        replans=replans,
        **options,
    )
    return graph.compile(checkpointer=checkpointer)


def given(**needs: str) -> dict[str, Any]:
    return {"task": "Do it", "plan": plan(**needs)}


def test_what_failed_is_replaced_and_what_is_accepted_is_kept(sync: bool) -> None:
    model, planner = hopeless("b"), Scripted(reply=in_turn(reply(d="a", e="a d")))
    output = run(orchestrator(model, planner), given(**FIRST), sync=sync)
    assert values(output) == {"a": made("a"), "d": made("d", "a"), "e": made("e", "a", "d")}
    assert output["failure"] is None
    assert model.jobs == {"a": 1, "b": 2, "d": 1, "e": 1}  # b: tried and repaired
    assert [row["id"] for row in output["final_plan"]["subtasks"]] == ["a", "d", "e"]
    (before,) = output["replaced"]
    assert [row["id"] for row in before["plan"]["subtasks"]] == ["a", "b", "c"]
    assert {name: result["status"] for name, result in before["results"].items()} == {
        "b": "failed",
        "c": "skipped",
    }
    assert "made:e of a+d" in output["answer"]


def test_the_planner_is_told_what_is_done_and_what_failed_and_why(sync: bool) -> None:
    planner = Scripted(reply=in_turn(GIVE_UP))
    output = run(orchestrator(hopeless("b"), planner), given(**FIRST), sync=sync)
    (prompt,) = planner.prompts
    told = prompt.split("What came of it:\n")[1].splitlines()
    assert told[0] == '1: done: {"text": "made:a of nothing"}'
    assert told[1].startswith("2: failed (tried on small): not_json: the answer is not JSON")
    assert told[2] == "3: skipped: dependency: needs b, which gave no result"
    assert "count from 4. They may work on the results of 1." in prompt
    assert output["failure"]["replanning"] == "the planner gave up"
    assert output["failure"]["message"].endswith("missing: b, c; no other plan: the planner gave up")
    assert list(output["failure"]["missing"]) == ["b", "c"]
    assert output["results"]["a"]["value"] == made("a")
    assert "made:a of nothing" in output["answer"]


def test_nothing_is_planned_anew_unless_asked_for(sync: bool) -> None:
    graph = orchestrator(hopeless("b"), not_asked, replans=0)
    output = run(graph, given(**FIRST), sync=sync)
    assert list(output["failure"]["missing"]) == ["b", "c"]
    assert "replanning" not in output["failure"]
    graph = orchestrator(hopeless(), not_asked)
    assert run(graph, given(**FIRST), sync=sync)["failure"] is None


def test_the_rest_is_replaced_so_often_and_no_oftener(sync: bool) -> None:
    planner = Scripted(reply=in_turn(reply(d="a"), reply(e="a"), reply(f="a")))
    graph = orchestrator(hopeless("b", "d", "e", "f"), planner, replans=2)
    output = run(graph, given(a="", b=""), sync=sync)
    assert {name: result["status"] for name, result in output["results"].items()} == {
        "a": "accepted",
        "e": "failed",
    }
    assert planner.calls == 2
    assert [list(each["results"]) for each in output["replaced"]] == [["b"], ["d"]]
    assert output["ledger"]["rejected"] == {"not_json": 3}
    assert "4: failed" not in planner.prompts[0]
    assert "3: failed" in planner.prompts[1]


def loop(name: str, *needs: str, worker: str = "make", words: str = "do [[b]]") -> str:
    return json.dumps([subtask(name, *needs, worker=worker) | {"instruction": words}])


def test_the_same_again_is_refused_and_the_planner_told_once(sync: bool) -> None:
    planner = Scripted(reply=in_turn(loop("x", words=" DO  [[b]]\n"), loop("b")))
    output = run(orchestrator(hopeless("b"), planner), given(a="", b=""), sync=sync)
    assert "subtask 'x' is subtask 2 over again, which failed" in planner.prompts[1]
    assert output["failure"]["replanning"].startswith("subtask 'b_2' is subtask 2 over again")
    assert output["results"]["a"]["value"] == made("a")
    assert (planner.calls, output["ledger"]["by_worker"]["supervisor"]["calls"]) == (2, 2)


@pytest.mark.parametrize(
    "other",
    [loop("x", worker="other"), loop("x", "a"), loop("x", words="try [[b]]")],
    ids=["worker", "inputs", "words"],
)
def test_another_worker_input_or_wording_is_not_the_same(other: str, sync: bool) -> None:
    output = run(orchestrator(hopeless("b"), in_turn(other)), given(a="", b=""), sync=sync)
    assert list(output["results"]) == ["a", "x"]


def test_what_failed_rounds_ago_is_remembered(sync: bool) -> None:
    planner = in_turn(reply(d=""), loop("x"), loop("y"))
    output = run(orchestrator(hopeless("b", "d"), planner, replans=2), given(a="", b=""), sync=sync)
    assert "over again" in output["failure"]["replanning"]
    assert list(output["failure"]["missing"]) == ["d"]


REFUSED = {
    "not JSON": ("no", "the plan is not JSON"),
    "no list": ('{"subtasks": 3}', "subtasks: it is no list"),
    "on what failed": (reply(d="b"), "subtask 'd' works on subtask 2, which gave no result"),
    "unknown worker": (json.dumps([subtask("d", worker="mak")]), "unknown worker 'mak'; did you mean 'make'"),
    "dangling": (reply(d="z"), "'d' depends on 'z', which is not in the plan"),
    "circle": (reply(d="e", e="d"), "in a circle"),
    "not a subtask": ('{"subtasks": [3]}', "subtask"),
    "too many": (reply(d="", e="", f=""), "the plan has 3 new subtasks; the limit is 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_plan_is_asked_for_again_with_the_error(case: str, sync: bool) -> None:
    bad, problem = REFUSED[case]
    planner = Scripted(reply=in_turn(bad, reply(d="a")))
    output = run(orchestrator(hopeless("b"), planner, max_subtasks=2), given(a="", b=""), sync=sync)
    assert problem in planner.prompts[1]
    assert values(output) == {"a": made("a"), "d": made("d", "a")}


def test_a_planner_that_is_down_leaves_the_failure_as_it_is(sync: bool) -> None:
    output = run(orchestrator(hopeless("b"), broken), given(a="", b=""), sync=sync)
    assert "connection refused" in output["failure"]["replanning"]
    assert output["results"]["a"]["value"] == made("a")


def test_an_id_that_was_used_gets_a_new_one(sync: bool) -> None:
    planner = in_turn(json.dumps([subtask("b", "a") | {"instruction": job("d")}, subtask("e", "b")]))
    output = run(orchestrator(hopeless("b"), planner), given(a="", b=""), sync=sync)
    assert values(output) == {"a": made("a"), "b_2": made("d", "a"), "e": made("e", "d")}


def test_a_failure_that_ends_the_run_is_not_planned_anew(sync: bool) -> None:
    workers = [worker(errors=ErrorPolicy(on_failure="fail"))]
    output = run(orchestrator(hopeless("b"), not_asked, workers=workers), given(a="", b=""), sync=sync)
    assert output["failure"]["ended_by"] == ["b"]


def test_what_a_substitute_stands_for_is_not_planned_anew(sync: bool) -> None:
    policy = ErrorPolicy(on_failure="substitute", substitute={"text": "made:guess"})
    output = run(
        orchestrator(hopeless("b"), not_asked, workers=[worker(errors=policy)]), given(**FIRST), sync=sync
    )
    assert output["results"]["c"]["value"] == made("c", "a", "guess")


def test_the_calls_of_a_replan_are_counted_apart(sync: bool) -> None:
    planner = Scripted(reply=in_turn(reply(a="", b=""), reply(d="")))
    graph = orchestrator(hopeless("b"), planner)
    *_, last = graph.stream({"task": "Do it"}, stream_mode="values")
    assert last["ledger"]["by_worker"]["supervisor"]["calls"] == 2
    assert [call.get("replan") for call in last["calls"]] == [None, 1]


@pytest.mark.parametrize("replans", [-1, 11])
def test_a_number_out_of_range_is_refused(replans: int) -> None:
    with pytest.raises(ConfigurationError, match=f"replans is {replans}; give 0 to 10"):
        create_orchestrator([worker()], ladder(make), replans=replans)


def test_the_next_task_on_the_thread_starts_afresh(sync: bool) -> None:
    model = hopeless("b")
    graph = orchestrator(model, in_turn(reply(d="")), checkpointer=InMemorySaver())
    run(graph, given(a="", b=""), THREAD, sync=sync)
    output = run(graph, given(a="", d="a"), THREAD, sync=sync)
    assert values(output) == {"a": made("a"), "d": made("d", "a")}
    assert model.jobs == {"a": 2, "b": 2, "d": 2}
    assert output["replaced"] == []


# Kills in the second round: results of both rounds stay where they belong

SECOND = {"d": "a", "e": "", "f": "d e", "g": "f a"}
ALL = {
    "a": made("a"),
    "d": made("d", "a"),
    "e": made("e"),
    "f": made("f", "d", "e"),
    "g": made("g", "a", "f"),
}


@pytest.mark.parametrize("victim", ["d", "e", "f", "g", "planner"])
def test_a_run_killed_in_its_second_round_mixes_nothing_up(victim: str, sync: bool) -> None:
    def die(messages: Sequence[BaseMessage]) -> str:
        if mark_of(messages) == victim:
            raise Crash
        return "no" if mark_of(messages) == "b" else make(messages)

    def dying_planner(messages: Sequence[BaseMessage]) -> str:
        if victim == "planner":
            raise Crash
        return reply(**SECOND)

    saver = InMemorySaver()
    first = Scripted(reply=die)
    graph = orchestrator(first, dying_planner, checkpointer=saver)
    with pytest.raises(Crash):
        run(graph, given(**FIRST), THREAD, sync=sync, durability="sync")
    again = Scripted(reply=make)
    graph = orchestrator(again, always(reply(**SECOND)), checkpointer=saver)
    output = run(graph, None, THREAD, sync=sync, durability="sync")
    assert values(output) == ALL
    assert "a" not in again.jobs
    assert victim == "planner" or again.jobs[victim] == 1
    assert output["failure"] is None


def child(path: str) -> None:
    """Is killed when `f` is asked, in the second round; the code of the process that dies."""

    def die(messages: Sequence[BaseMessage]) -> str:
        if mark_of(messages) == "f":
            os._exit(9)
        return "no" if mark_of(messages) == "b" else make(messages)

    saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
    graph = orchestrator(Scripted(reply=die), always(reply(**SECOND)), checkpointer=saver)
    graph.invoke(given(**FIRST), THREAD, durability="sync")


def test_a_process_killed_in_the_second_round_is_resumed_by_another(tmp_path: Path) -> None:
    path = str(tmp_path / "run.sqlite")
    code = f"from tests.graphs.test_replan import child; child({path!r})"
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert killed.returncode == 9, killed.stderr
    again = Scripted(reply=make)
    saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
    output = orchestrator(again, not_asked, checkpointer=saver).invoke(None, THREAD, durability="sync")
    assert values(output) == ALL
    assert again.jobs == {"f": 1, "g": 1}
