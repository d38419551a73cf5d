from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

import pytest

from stellwerk.budget import Budget
from stellwerk.decision import SERVE_NONE, Decision
from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Attempt, DecisionRecord, Verdict
from stellwerk.plan import Subtask
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.goal import ErrorPrice
from stellwerk.routers.learned import LearnedRouter
from stellwerk.routers.model import RouterModel
from stellwerk.routers.router import Router
from stellwerk.routers.training import train
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from tests.fakes import Scripted, ladder, not_asked, worker
from tests.routers.questions import TIERS, episodes

LADDER = ladder(not_asked, not_asked, not_asked)
EASY = Subtask(id="a", worker="answer", instruction="What is the capital of the animal number 3?")
HARD = Subtask(id="b", worker="answer", instruction="What is the integral of the manifold number 3?")
WORKER = worker("answer")


@cache
def model() -> RouterModel:
    return train(episodes(400, checks=True), TIERS)


@dataclass(frozen=True)
class Choice:
    tier: int | None
    serve: int | None


@dataclass(frozen=True)
class Threshold:
    """The cheapest tier that is believed enough; stops as soon as an answer is."""

    enough: float
    abstains: bool = False

    def choose(
        self,
        belief: Belief,
        outcomes: Sequence[Outcome],
        tiers: Sequence[str],
        closed: Collection[str] = (),
    ) -> Choice:
        tried = {outcome.tier for outcome in outcomes}
        left = [place for place, tier in enumerate(tiers) if tier not in tried and tier not in closed]
        taken = [place for place, outcome in enumerate(outcomes) if outcome.accepted]
        best = max(taken, key=lambda place: belief.answers[place], default=None)
        if best is not None and (belief.answers[best] >= self.enough or not left):
            doubted = self.abstains and belief.answers[best] < self.enough
            return Choice(None, None if doubted else best)
        good = [place for place in left if belief.right[place] >= self.enough]
        return Choice(next(iter(good + left[::-1]), None), None)


def attempt(tier: str, accepted: bool, answer: str = "") -> Attempt:
    decision = DecisionRecord(tier=tier, router="r", version="1", propensity=1.0, why="", estimates={})
    verdict = Verdict(accepted=True) if accepted else Verdict(accepted=False, reason="check")
    return Attempt(tier=tier, decision=decision, verdict=verdict, calls=[], answer=answer)


def decide(
    router: LearnedRouter,
    subtask: Subtask,
    *history: Attempt,
    ladder: Ladder = LADDER,
    budget: Budget | None = None,
) -> Decision:
    asked: Router = router
    decision = asked.decide(subtask, WORKER, ladder, budget or Budget(), history)
    assert decision.record()["propensity"] == decision.propensity
    return decision


def test_easy_subtasks_go_to_the_smallest_tier_and_hard_ones_pass_it_over() -> None:
    router = LearnedRouter(model(), Threshold(0.8))
    easy, hard = decide(router, EASY), decide(router, HARD)
    assert (easy.tier, hard.tier) == ("small", "large")
    assert easy.version == hard.version == model().digest[:12]
    assert set(easy.estimates) == set(TIERS)
    assert easy.estimates["small"]["right"] > 0.8 > hard.estimates["small"]["right"]
    assert 0.05 < hard.estimates["large"]["usd"] < 0.2
    assert hard.why.startswith("large is tried: right with ")
    assert "small right with" in hard.why


def test_a_rejected_answer_is_followed_by_another_tier_and_an_accepted_one_served() -> None:
    router = LearnedRouter(model(), Threshold(0.8))
    after = decide(router, EASY, attempt("small", accepted=False))
    assert after.tier in ("medium", "large")
    assert after.estimates["small"]["right"] == 0
    done = decide(router, EASY, attempt("small", accepted=False), attempt("large", accepted=True))
    assert (done.tier, done.serve) == (None, 1)
    assert done.why.startswith("the answer of large is served: right with ")


def test_an_answer_that_is_doubted_is_not_served_where_the_policy_abstains() -> None:
    every = [attempt(tier, accepted=True, answer=tier) for tier in TIERS]
    abstains = decide(LearnedRouter(model(), Threshold(0.999, abstains=True)), HARD, *every)
    assert (abstains.tier, abstains.serve) == (None, SERVE_NONE)
    serves = decide(LearnedRouter(model(), Threshold(0.999)), HARD, *every)
    assert serves.serve in (0, 1, 2)


def test_a_spent_budget_stops_with_the_answer_in_hand() -> None:
    router = LearnedRouter(model(), Threshold(0.99), explore=1.0, seed=1)
    decision = decide(router, HARD, attempt("small", accepted=True), budget=Budget(attempts=1))
    assert (decision.tier, decision.serve, decision.propensity) == (None, 0, 1)


def test_nothing_left_to_try_ends_without_a_tier() -> None:
    every = [attempt(tier, accepted=False) for tier in TIERS]
    decision = decide(LearnedRouter(model(), Threshold(0.8)), HARD, *every)
    assert (decision.tier, decision.serve) == (None, None)
    assert decision.why == "no tier is left to try, and no answer was accepted"


def test_propensities_are_the_frequencies_of_what_is_drawn() -> None:
    router = LearnedRouter(model(), Threshold(0.8), explore=0.3, seed=5)
    drawn = [decide(router, EASY) for _ in range(2_000)]
    count = Counter(decision.tier for decision in drawn)
    chances = {decision.tier: decision.propensity for decision in drawn}
    assert sum(chances.values()) == pytest.approx(1)
    for tier, chance in chances.items():
        assert count[tier] / len(drawn) == pytest.approx(chance, abs=0.035)  # three standard errors
    assert chances["large"] == pytest.approx(0.1)
    explored = next(decision for decision in drawn if decision.tier == "large")
    assert explored.why.startswith("large was drawn to learn of it; otherwise: small is tried")


def test_exploration_may_go_on_after_an_accepted_answer() -> None:
    router = LearnedRouter(model(), Threshold(0.5), explore=0.5, seed=2)
    drawn = [decide(router, EASY, attempt("small", accepted=True)) for _ in range(200)]
    stops = [decision for decision in drawn if decision.tier is None]
    assert {decision.propensity for decision in stops} == {0.5}
    assert {decision.serve for decision in stops} == {0}
    assert {d.tier: (d.propensity, d.serve) for d in drawn if d.tier} == {
        "medium": (0.25, None),
        "large": (0.25, None),
    }


def test_the_same_seed_draws_the_same() -> None:
    first, second = (LearnedRouter(model(), Threshold(0.8), explore=0.5, seed=3) for _ in range(2))
    assert [decide(first, EASY).tier for _ in range(50)] == [decide(second, EASY).tier for _ in range(50)]


def tiers(*names: str) -> Ladder:
    return Ladder([Tier(name=name, model=Scripted(reply=not_asked)) for name in names])


def test_a_ladder_without_one_of_the_models_tiers_does_without_it() -> None:
    decision = decide(LearnedRouter(model(), Threshold(0.8)), HARD, ladder=tiers("small", "medium"))
    assert decision.tier in ("small", "medium")
    assert set(decision.estimates) == {"small", "medium"}


def test_a_tier_that_the_model_does_not_know_comes_last_and_is_served_if_accepted() -> None:
    wider = tiers("small", "new", "medium", "large")
    router = LearnedRouter(model(), Threshold(0.8))
    rejected = [attempt(tier, accepted=False) for tier in TIERS]
    assert decide(router, EASY, ladder=wider).tier == "small"
    last = decide(router, EASY, *rejected, ladder=wider)
    assert last.tier == "new"
    assert last.why.startswith("new is not known to the model")
    served = decide(router, EASY, rejected[0], attempt("new", accepted=True), ladder=wider)
    assert (served.tier, served.serve) == (None, 1)
    both = [attempt("new", accepted=False), attempt("small", accepted=True)]
    assert decide(router, EASY, *both, ladder=wider).serve == 1
    explored = LearnedRouter(model(), Threshold(0.8), explore=1.0, seed=1)
    assert "new" in {decide(explored, EASY, ladder=wider).tier for _ in range(50)}


def test_a_ladder_of_other_tiers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="trained for small, medium, large, and the ladder has a, b"):
        decide(LearnedRouter(model(), Threshold(0.8)), EASY, ladder=tiers("a", "b"))
    with pytest.raises(ConfigurationError, match="the ladder has large < small: train it again for this"):
        decide(LearnedRouter(model(), Threshold(0.8)), EASY, ladder=tiers("large", "small"))


def test_a_goal_is_met_on_the_held_out_episodes() -> None:
    @dataclass
    class Solution:
        policy: Threshold

    class HalfRight:
        seen: Sequence[Episode] = ()

        def solve(self, model: RouterModel, episodes: Sequence[Episode], /) -> Solution:
            self.seen = episodes
            return Solution(Threshold(0.5))

    goal = HalfRight()
    assert LearnedRouter(model(), goal).policy == Threshold(0.5)
    assert goal.seen == model().calibration
    with pytest.raises(ConfigurationError, match="no held-out episodes"):
        LearnedRouter(replace(model(), calibration=(), held=()), goal)


def test_a_share_to_explore_is_from_0_to_1() -> None:
    with pytest.raises(ConfigurationError, match=r"explore is 1\.5"):
        LearnedRouter(model(), Threshold(0.8), explore=1.5)


def test_an_explanation_names_words_and_past_subtasks_with_what_came_of_them() -> None:
    router = LearnedRouter(model(), Threshold(0.8), explore=1.0)
    why = router.explain(HARD, WORKER, LADDER)
    assert why.sentence == why.decision.why
    assert why.decision.tier == "large"
    assert why.decision.propensity == 1
    moved = dict(why.contributions["small"])
    assert len(moved) == 5
    assert sum(moved.values()) < 0  # hard for the small tier
    past = why.neighbours
    assert len(past) == 5
    assert [one.distance for one in past] == sorted(one.distance for one in past)
    assert all("integral" in one.instruction or "manifold" in one.instruction for one in past)
    assert set(past[0].right) == set(TIERS)
    assert past[0].trace_ids == tuple(f"{past[0].id}-{tier}" for tier in TIERS)


@pytest.mark.parametrize("goal", [QualityFloor(floor=0.7, confidence=0.8), ErrorPrice(usd=0.5)])
def test_a_goal_finds_a_policy_that_escalates_hard_subtasks(goal: QualityFloor | ErrorPrice) -> None:
    router = LearnedRouter(model(), goal)
    assert decide(router, EASY).tier in TIERS
    done = decide(router, EASY, attempt("small", accepted=False), attempt("large", accepted=True))
    assert (done.tier, done.serve) == (None, 1)
