"""Draws are made as often as is said, and each says how likely it was."""

from collections import Counter
from typing import Any

import pytest

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.errors import ConfigurationError
from stellwerk.graphs import create_orchestrator
from stellwerk.outcome import Attempt, Verdict
from stellwerk.plan import Subtask
from stellwerk.routers import SmallestFirst
from stellwerk.routers.exploring import Exploring
from tests.fakes import broken, ladder, made, make, plan, run, values, worker

TIERS = ladder(make, make, make)


def decide(router: Any, *tried: str, accepted: tuple[str, ...] = (), most: int | None = None) -> Decision:
    history = []
    for tier in tried:
        decision = Decision(tier=tier, router="r", version="1", why="so").record()
        verdict = Verdict(accepted=True) if tier in accepted else Verdict(accepted=False, reason="check")
        history.append(Attempt(tier=tier, decision=decision, verdict=verdict, calls=[]))
    subtask = Subtask(id="a", worker="make", instruction="Do it")
    decided: Decision = router.decide(subtask, worker(), TIERS, Budget(attempts=most), history)
    return decided


def test_how_often_a_tier_comes_is_what_its_propensity_says() -> None:
    router = Exploring(SmallestFirst(), 0.3, seed=0)
    drawn = [decide(router) for _ in range(6_000)]
    said = {decision.tier: decision.propensity for decision in drawn}
    assert said == {"small": pytest.approx(0.8), "medium": pytest.approx(0.1), "large": pytest.approx(0.1)}
    for tier, count in Counter(decision.tier for decision in drawn).items():
        assert count / 6_000 == pytest.approx(said[tier], abs=0.02)
    assert {decision.router for decision in drawn} == {"smallest-first"}
    medium = next(decision for decision in drawn if decision.tier == "medium")
    assert medium.why == "medium was drawn to learn of it; otherwise: small is the smallest tier"


def test_what_was_tried_is_not_drawn_and_a_stop_stays_a_stop() -> None:
    router = Exploring(SmallestFirst(), 1.0, seed=0)
    after = {decide(router, "large", "small").tier for _ in range(50)}
    assert after == {"medium"}
    assert decide(router, "small", "medium", "large").tier is None
    assert decide(router, "small", "medium", "large").propensity == 1.0


def test_after_an_accepted_answer_it_may_go_on_and_serves_that_one_all_the_same() -> None:
    router = Exploring(SmallestFirst(), 0.3, seed=0)
    drawn = [decide(router, "small", accepted=("small",)) for _ in range(4_000)]
    said = {decision.tier: decision.propensity for decision in drawn}
    assert said == {None: pytest.approx(0.7), "medium": pytest.approx(0.15), "large": pytest.approx(0.15)}
    for tier, count in Counter(decision.tier for decision in drawn).items():
        assert count / 4_000 == pytest.approx(said[tier], abs=0.02)
    assert {decision.serve for decision in drawn if decision.tier is None} == {0}
    end = decide(router, "medium", "small", "large", accepted=("small", "large"))
    assert (end.tier, end.serve, end.propensity) == (None, 1, 1.0)
    spent = decide(router, "small", accepted=("small",), most=1)
    assert (spent.tier, spent.serve, spent.propensity) == (None, 0, 1.0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_a_run_gives_does_not_depend_on_draws_after_it(share: float, sync: bool) -> None:
    graph = create_orchestrator(
        [worker()], ladder(make, broken), router=Exploring(SmallestFirst(), share), synthesizer="join"
    ).compile()
    for _ in range(8):
        output = run(graph, {"task": "Do it", "plan": plan(a="")}, sync=sync)
        if output["results"]["a"]["attempts"][0]["tier"] == "small":
            assert values(output) == {"a": made("a")}


def test_one_that_cascades_has_draws_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="'smallest-first' cascades"):
        Exploring(Exploring(SmallestFirst(), 0.1), 0.1)


def test_without_a_share_nothing_is_drawn() -> None:
    router = Exploring(SmallestFirst(), 0.0)
    assert {(decide(router).tier, decide(router).propensity) for _ in range(50)} == {("small", 1.0)}
    with pytest.raises(ConfigurationError, match="share to explore is 1"):
        Exploring(SmallestFirst(), 1.5)
