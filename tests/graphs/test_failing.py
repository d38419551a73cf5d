"""What happens to a run when something in it fails, by the error policies of its workers."""

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.error_policy import ErrorPolicy
from stellwerk.graphs import create_orchestrator
from stellwerk.routers import Router, SmallestFirst
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Brief, Worker
from tests.fakes import (
    Crash,
    Reply,
    Said,
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

QUICK = ErrorPolicy(retries=2, initial_interval=0.001)
GOOD = '{"text": "made:a of nothing"}'


def outcome(
    *models: Scripted | Reply,
    workers: Sequence[Worker] | None = None,
    needs: Any = None,
    sync: bool,
    **options: Any,
) -> dict[str, Any]:
    """Run a plan, of one subtask `a` unless told, with workers that retry twice unless told."""
    tiers = options.pop("tiers", None) or ladder(*models)
    options.setdefault("synthesizer", "join")
    graph = create_orchestrator(workers or [worker(errors=QUICK)], tiers, **options).compile()
    output: dict[str, Any] = run(graph, {"task": "Do it", "plan": needs or plan(a="")}, sync=sync)
    return output


def tried(output: dict[str, Any], name: str = "a") -> list[tuple[str, str, int]]:
    """The attempts at a subtask: tier, what came of it, which retry it was."""
    return [
        (attempt["tier"], attempt["verdict"].get("reason", "accepted"), attempt.get("retry", 0))
        for attempt in output["results"][name]["attempts"]
    ]


def statuses(output: dict[str, Any]) -> str:
    return " ".join(f"{name}:{result['status']}" for name, result in sorted(output["results"].items()))


# Retries

LOST = ConnectionError("connection lost")


def test_what_may_pass_is_tried_again_on_the_same_tier(sync: bool) -> None:
    output = outcome(in_turn(LOST, LOST, GOOD), not_asked, sync=sync)
    assert tried(output) == [("small", "tier", 0), ("small", "tier", 1), ("small", "accepted", 2)]
    whys = [attempt["decision"]["why"] for attempt in output["results"]["a"]["attempts"]]
    assert whys[1].startswith("small failed (tier), which may pass; retry 1, after 0.0 s")
    assert output["ledger"]["rejected"] == {"tier": 2}
    assert output["failure"] is None


def test_when_retries_are_used_up_the_router_goes_on(sync: bool) -> None:
    output = outcome(broken, make, sync=sync)
    assert [tier for tier, _, _ in tried(output)] == ["small"] * 3 + ["large"]
    assert tried(output)[-1] == ("large", "accepted", 0)


def test_retries_are_not_counted_as_attempts_of_the_budget(sync: bool) -> None:
    output = outcome(broken, broken, budget=Budget(attempts=2), sync=sync)
    assert [(tier, retry) for tier, _, retry in tried(output)] == [
        (tier, retry) for tier in ("small", "large") for retry in (0, 1, 2)
    ]


@pytest.mark.parametrize("reply", [always("no"), always('{"text": ""}'), always("I cannot help with that.")])
def test_a_bad_answer_is_no_reason_for_a_retry(reply: Reply, sync: bool) -> None:
    assert len(tried(outcome(reply, make, sync=sync))) == 2


def test_only_the_reasons_of_the_policy_are_retried(sync: bool) -> None:
    policy = replace(QUICK, retry_on=["timeout", "unavailable"])
    output = outcome(broken, make, workers=[worker(errors=policy)], sync=sync)
    assert tried(output) == [("small", "tier", 0), ("large", "accepted", 0)]


class RefusedError(Exception):
    """As the clients of hosted APIs raise it."""

    status_code = 400


def test_a_request_that_is_refused_would_be_refused_again(sync: bool) -> None:
    output = outcome(in_turn(RefusedError("no such field")), make, sync=sync)
    assert tried(output) == [("small", "tier", 0), ("large", "accepted", 0)]


@pytest.mark.parametrize(("of_tier", "attempts"), [(0, 3), (1, 2), (2, 1)])
def test_what_the_tier_has_tried_itself_counts(of_tier: int, attempts: int, sync: bool) -> None:
    model = Scripted(reply=broken)
    tiers = Ladder([Tier(name="small", model=model, max_retries=of_tier)])
    output = outcome(tiers=tiers, sync=sync)
    assert len(tried(output)) == attempts
    assert model.calls <= max(1 + QUICK.retries, 1 + of_tier) + 1


def slow_to(reply: Reply) -> Scripted:
    """A model that takes a tenth of a second."""

    async def wait(_: object) -> None:
        await asyncio.sleep(0.1)

    return Scripted(reply=reply, before=lambda _: time.sleep(0.1), abefore=wait)


def test_a_budget_of_time_ends_the_retries(sync: bool) -> None:
    output = outcome(slow_to(broken), budget=Budget(seconds=0.05, attempts=1), sync=sync)
    assert len(tried(output)) == 1


def test_a_workers_own_code_is_run_again_where_it_may_do_better(sync: bool) -> None:
    calls: list[str] = []

    def look_up(result: Said, brief: Brief) -> str | None:
        calls.append(result.text)
        if len(calls) < 3:
            raise TimeoutError("the database is late")
        return None

    model = Scripted(reply=make)
    output = outcome(model, not_asked, workers=[worker(checks=[look_up], errors=QUICK)], sync=sync)
    assert tried(output) == [("small", "worker", 0), ("small", "worker", 1), ("small", "accepted", 2)]
    assert model.calls == 3  # no model is asked to mend what it did not break
    calls.clear()

    def wrong(result: Said, brief: Brief) -> str | None:
        raise KeyError("x")

    output = outcome(make, make, workers=[worker(checks=[wrong], errors=QUICK)], sync=sync)
    assert tried(output) == [("small", "worker", 0), ("large", "worker", 0)]


# Time


def test_a_run_timeout_covers_all_calls_of_an_attempt(sync: bool) -> None:
    policy = ErrorPolicy(run_timeout=0.4)  # for six calls of a tenth of a second
    output = outcome(slow_to(always("no")), make, workers=[worker(errors=policy, repairs=5)], sync=sync)
    small, large = output["results"]["a"]["attempts"]
    assert len(small["calls"]) <= 4
    assert (large["tier"], large["verdict"]["accepted"]) == ("large", True)


def test_a_call_that_hangs_ends_with_the_idle_timeout(sync: bool) -> None:
    policy = ErrorPolicy(idle_timeout=0.05)
    output = outcome(slow_to(always(GOOD)), make, workers=[worker(errors=policy)], sync=sync)
    assert tried(output) == [("small", "timeout", 0), ("large", "accepted", 0)]
    assert "nothing came for 0.05 s" in output["results"]["a"]["attempts"][0]["verdict"]["detail"]


# What a failed subtask means for others


def hopeless(*marks: str) -> Reply:
    return lambda messages: "no" if mark_of(messages) in marks else make(messages)


FAILING = {
    "subtasks": [
        subtask("a", worker="look"),
        subtask("b", "a"),
        subtask("c", "b"),
        subtask("d"),
        subtask("e", "d"),
    ]
}


def looking(**policy: Any) -> list[Worker]:
    return [worker("look", errors=ErrorPolicy(**policy)), worker("make")]


def test_those_who_need_a_failed_subtask_are_skipped_and_say_for_whom(sync: bool) -> None:
    output = outcome(hopeless("a"), hopeless("a"), workers=looking(), needs=FAILING, sync=sync)
    assert statuses(output) == "a:failed b:skipped c:skipped d:accepted e:accepted"
    failed = output["failure"]["subtasks"]
    assert failed["a"] == {
        "subtask": "a",
        "worker": "look",
        "status": "failed",
        "reason": "not_json",
        "detail": output["results"]["a"]["detail"],
        "tier": "large",
        "attempts": 2,
        "reasons": ["not_json", "not_json"],
        "roots": [],
        "substituted": False,
    }
    assert [(failed[name]["reason"], failed[name]["roots"]) for name in "bc"] == [("dependency", ["a"])] * 2
    assert "ended_by" not in output["failure"]


def test_a_substitute_goes_on_and_is_taken_for_no_answer(sync: bool) -> None:
    workers = looking(on_failure="substitute", substitute={"text": "made:guess"})
    output = outcome(hopeless("a"), hopeless("a"), workers=workers, needs=FAILING, sync=sync)
    assert statuses(output) == "a:failed b:accepted c:accepted d:accepted e:accepted"
    a, b, c, d = (output["results"][name] for name in "abcd")
    assert (a["value"], a["substituted"]) == (None, {"text": "made:guess"})
    assert b["value"] == made("b", "guess")
    assert [result.get("rests_on") for result in (b, c, d)] == [["a"], ["a"], None]
    assert output["failure"]["subtasks"]["a"]["substituted"]
    assert list(output["failure"]["missing"]) == ["a"]
    assert (
        "(its substitute went on); 2 attempts by look on small, large)\n(substitute: made:guess)"
        in output["answer"]
    )
    assert "made:b of guess\n(rests on a substitute for the result of a)" in output["answer"]


def test_a_template_says_what_is_a_substitute(sync: bool) -> None:
    workers = [worker(errors=ErrorPolicy(on_failure="substitute", substitute={"text": "none"}))]
    merge = {"needs": plan(a="", b=""), "synthesizer": "{a}; {b}"}
    output = outcome(hopeless("a"), hopeless("a"), workers=workers, sync=sync, **merge)
    assert output["answer"] == "none (a substitute); made:b of nothing"


def test_a_failure_that_ends_the_run_keeps_what_the_siblings_did(sync: bool) -> None:
    output = outcome(
        hopeless("a"),
        hopeless("a"),
        workers=looking(on_failure="fail"),
        needs=FAILING,
        synthesizer=lambda *_: "merged",
        sync=sync,
    )
    assert statuses(output) == "a:failed b:skipped c:skipped d:accepted e:accepted"
    assert output["failure"]["ended_by"] == ["a"]
    assert output["failure"]["message"].endswith("missing: a, b, c; no result of a fails the run")
    assert "made:e of d" in output["answer"]


# The caller's own code


@pytest.mark.parametrize("where", ["prompt", "narrow", "finish", "check"])
def test_a_workers_own_exception_fails_its_subtask_only_with_a_typed_reason(where: str, sync: bool) -> None:
    def raises(*_: Any) -> Any:
        raise KeyError("own")

    own: dict[str, Any] = {"checks": [raises]} if where == "check" else {where: raises}
    bad = worker("look") if where == "prompt" else worker("look", **own)
    if where == "prompt":
        bad = replace(bad, prompt=raises)
    needs = {"subtasks": [subtask("a", worker="look"), subtask("b"), subtask("c", "a")]}
    output = outcome(make, make, workers=[bad, worker()], needs=needs, sync=sync)
    assert statuses(output) == "a:failed b:accepted c:skipped"
    failed = output["failure"]["subtasks"]["a"]
    assert (failed["reason"], failed["reasons"]) == ("worker", ["worker", "worker"])
    assert failed["detail"].endswith("KeyError: 'own'")


class Raising:
    """A router that fails before the first attempt, or after it."""

    name, version = "raising", "1"

    def __init__(self, after: int = 0, *, tier: str = "") -> None:
        self._after, self._tier = after, tier

    def decide(self, subtask: Any, worker: Any, ladder: Any, budget: Any, history: Sequence[Any]) -> Decision:
        if len(history) < self._after:
            return SmallestFirst().decide(subtask, worker, ladder, budget, history)
        if self._tier:
            return Decision(tier=self._tier, router=self.name, version=self.version, why="because")
        raise LookupError("no model")


@pytest.mark.parametrize(
    ("router", "why"),
    [
        (Raising(), "the router raising failed (LookupError: no model); small is the smallest tier"),
        (Raising(tier="huge"), "the router raising failed (ConfigurationError: there is no tier 'huge'"),
    ],
)
def test_a_router_that_fails_is_replaced_by_smallest_first(
    router: Router, why: str, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        output = outcome(hopeless("a"), make, needs=plan(a="", b=""), router=router, sync=sync)
    assert [tier for tier, _, _ in tried(output)] == ["small", "large"]
    first = output["results"]["a"]["attempts"][0]["decision"]
    assert first["why"].startswith(why[:50])
    assert first["router"] == "smallest-first"
    assert [record.message for record in caplog.records if "the router" in record.message] == [
        "the router raising failed; the smallest tier goes first"
    ]


def test_a_router_that_fails_after_an_accepted_answer_serves_it(sync: bool) -> None:
    router = Raising(after=1)
    router.cascades = True  # type: ignore[attr-defined]
    output = outcome(make, not_asked, router=router, sync=sync)
    assert values(output) == {"a": made("a")}
    after = output["results"]["a"]["attempts"][0]["decision"]["after"]
    assert after["why"].endswith("the accepted answer of small is served")


def test_a_claim_that_raises_claims_nothing(sync: bool) -> None:
    def raises(brief: Brief) -> bool:
        raise KeyError("own")

    workers = [worker("look", claims=raises), worker("make", claims=lambda brief: True)]
    planner = always(json.dumps([subtask("a", worker="look")]))
    graph = create_orchestrator(workers, ladder(make, planner), synthesizer="join").compile()
    output = run(graph, {"task": job("a")}, sync=sync)
    assert [row["worker"] for row in output["final_plan"]["subtasks"]] == ["make"]


# Kills

THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


def retrying(path: str, *replies: Any) -> tuple[Any, Scripted]:
    """A graph on a file, and the model of its small tier."""
    model = Scripted(reply=in_turn(*replies))
    saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
    policy = replace(QUICK, retries=3)
    graph = create_orchestrator([worker(errors=policy)], ladder(model, not_asked), synthesizer="join")
    return graph.compile(checkpointer=saver), model


def killed(path: str) -> None:
    """Fails once, and is killed in the retry; the code of the process that dies."""

    def die(messages: Sequence[BaseMessage]) -> str:
        if model.calls > 1:
            os._exit(9)
        raise LOST

    graph, model = retrying(path)
    model.reply = die
    graph.invoke({"task": "Do it", "plan": plan(a="")}, THREAD, durability="sync")


def test_a_run_killed_in_a_retry_goes_on_counting(tmp_path: Path) -> None:
    path = str(tmp_path / "run.sqlite")
    code = f"from tests.graphs.test_failing import killed; killed({path!r})"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert ended.returncode == 9, ended.stderr
    graph, model = retrying(path, LOST, GOOD)
    output = graph.invoke(None, THREAD, durability="sync")
    assert tried(output) == [("small", "tier", 0), ("small", "tier", 1), ("small", "accepted", 2)]
    assert model.calls == 2


def test_a_crash_is_no_failure_to_be_tried_again(sync: bool) -> None:
    def die(messages: Sequence[BaseMessage]) -> str:
        raise Crash

    with pytest.raises(Crash):
        outcome(die, not_asked, sync=sync)
