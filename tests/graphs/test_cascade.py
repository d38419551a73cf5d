"""Routers that are asked after accepted attempts too."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stellwerk.budget import Budget
from stellwerk.decision import SERVE_NONE, Decision
from stellwerk.graphs import create_orchestrator
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers import Ladder
from stellwerk.trace import AttemptTrace, RunTrace
from stellwerk.worker import Brief, Worker
from tests.fakes import always, job, ladder, not_asked, plan, run, worker

Choose = Callable[[Sequence[Attempt]], Decision]


class Cascade:
    """Asks a function of the history, and keeps what it was given."""

    cascades = True

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.briefs: list[Brief] = []

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None = None,
    ) -> Decision:
        assert brief is not None
        self.briefs.append(brief)
        return self._choose(history)


def to(tier: str | None, serve: int | None = None) -> Decision:
    return Decision(tier=tier, router="cascade", version="7", why="so", propensity=0.5, serve=serve)


def in_order(*decisions: Decision) -> Cascade:
    return Cascade(lambda history: decisions[len(history)])


class Kept:
    def __init__(self) -> None:
        self.attempts: list[AttemptTrace] = []

    def attempt(self, trace: AttemptTrace, /) -> None:
        self.attempts.append(trace)

    def run(self, trace: RunTrace, /) -> None:
        pass


def result_of(router: Cascade, *models: Any, sync: bool, **options: Any) -> dict[str, Any]:
    graph = create_orchestrator([worker()], ladder(*models), router=router, synthesizer="join", **options)
    output = run(graph.compile(), {"task": "Do it", "plan": plan(a="")}, sync=sync)
    result: dict[str, Any] = {**output["results"]["a"], "ledger": output["ledger"]}
    return result


SMALL, LARGE = always('{"text": "little"}'), always('{"text": "much"}')


@pytest.mark.parametrize("sync", [True, False])
def test_an_accepted_answer_may_be_doubted_and_bettered(sync: bool) -> None:
    result = result_of(in_order(to("small"), to("large"), to(None)), SMALL, LARGE, sync=sync)
    assert (result["status"], result["value"]) == ("accepted", {"text": "much"})
    assert [attempt["tier"] for attempt in result["attempts"]] == ["small", "large"]
    assert result["ledger"]["accepted"] == {"large": 1}
    assert result["ledger"]["rejected"] == {"doubted": 1}
    stop = result["attempts"][-1]["decision"]["after"]
    assert (stop["tier"], stop["why"], stop["propensity"]) == (None, "so", 0.5)


def test_an_earlier_answer_may_be_served() -> None:
    router = in_order(to("small"), to("large"), to(None, serve=0))
    result = result_of(router, SMALL, LARGE, sync=True)
    assert (result["status"], result["value"], result["served"]) == ("accepted", {"text": "little"}, 0)
    assert result["ledger"]["accepted"] == {"small": 1}


def test_what_follows_on_an_accepted_answer_and_fails_loses_nothing() -> None:
    router = in_order(to("small"), to("large"), to(None))
    result = result_of(router, SMALL, always("no JSON"), sync=True)
    assert (result["status"], result["value"]) == ("accepted", {"text": "little"})
    assert result["ledger"]["accepted"] == {"small": 1}


@pytest.mark.parametrize("budget", [Budget(attempts=1), Budget(calls=1)])
def test_a_budget_that_ends_serves_what_is_there(budget: Budget) -> None:
    result = result_of(in_order(to("small"), to("large")), SMALL, not_asked, sync=True, budget=budget)
    assert (result["status"], result["value"]) == ("accepted", {"text": "little"})


class Upwards:
    """Goes up as long as the budget has attempts left, and serves the first answer."""

    cascades = True

    def decide(
        self, subtask: Subtask, worker: Worker, ladder: Ladder, budget: Budget, history: Sequence[Attempt]
    ) -> Decision:
        if budget.allows(len(history), len(ladder)):
            return to(ladder.names[len(history)])
        return to(None, serve=0)


@pytest.mark.parametrize("sync", [True, False])
def test_where_no_more_can_be_paid_for_the_router_says_which_answer_is_served(sync: bool) -> None:
    """Each tier costs ten times what the one before does, and the budget is for two."""
    one = result_of(in_order(to("small"), to(None)), SMALL, not_asked, sync=sync)["ledger"]["total"]["usd"]
    graph = create_orchestrator(
        [worker()],
        ladder(SMALL, LARGE, not_asked),
        router=Upwards(),
        synthesizer="join",
        budget=Budget(usd=30 * one),
    )
    result = run(graph.compile(), {"task": "Do it", "plan": plan(a="")}, sync=sync)["results"]["a"]
    assert [attempt["tier"] for attempt in result["attempts"]] == ["small", "medium"]
    assert (result["value"], result["served"]) == ({"text": "little"}, 0)
    assert result["attempts"][-1]["decision"]["after"]["serve"] == 0


def test_no_answer_may_be_believed_enough() -> None:
    router = in_order(to("small"), to(None, serve=SERVE_NONE))
    result = result_of(router, SMALL, not_asked, sync=True)
    assert (result["status"], result["value"]) == ("failed", None)
    assert (result["reason"], result["detail"]) == ("doubted", "so")
    assert result["ledger"]["rejected"] == {"doubted": 1}


def test_attempts_that_agree_can_be_told() -> None:
    seen: list[Sequence[Attempt]] = []

    def choose(history: Sequence[Attempt]) -> Decision:
        seen.append(history)
        return to(("small", "medium", "large", None)[len(history)])

    result_of(Cascade(choose), SMALL, LARGE, SMALL, sync=True)
    answers = [attempt["answer"] for attempt in seen[-1]]
    assert answers[0] == answers[2] != answers[1]


def test_traces_tell_of_each_attempt_once_with_the_decision_that_followed() -> None:
    kept = Kept()
    result_of(in_order(to("small"), to("large"), to(None)), SMALL, LARGE, sync=True, traces=kept)
    decisions = [attempt.decision for attempt in kept.attempts]
    assert [decision and decision["tier"] for decision in decisions] == ["small", "large"]
    assert decisions[0] is not None
    assert "after" not in decisions[0]
    assert decisions[1] is not None
    assert decisions[1]["after"]["propensity"] == 0.5
    assert [attempt.number for attempt in kept.attempts] == [1, 2]
    assert [attempt.value for attempt in kept.attempts] == [{"text": "little"}, {"text": "much"}]
    assert all(attempt.messages for attempt in kept.attempts)


def test_a_router_is_told_where_in_the_plan_a_subtask_stands() -> None:
    router = Cascade(lambda history: to(None if history else "small"))
    graph = create_orchestrator([worker()], ladder(SMALL, not_asked), router=router, synthesizer="join")
    graph.compile().invoke({"task": "Do it", "plan": plan(a="", b="a")})
    briefs = {brief.instruction: brief for brief in router.briefs}
    assert (briefs[job("a")].position, briefs[job("a")].size) == (0, 2)
    assert (briefs[job("b")].position, briefs[job("b")].inputs) == (1, {"a": {"text": "little"}})
