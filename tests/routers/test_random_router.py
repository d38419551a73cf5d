from collections import Counter

import pytest

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.errors import ConfigurationError
from stellwerk.plan import Subtask
from stellwerk.routers import RandomRouter, Router
from tests.fakes import ladder, not_asked, worker
from tests.routers.test_smallest_first import rejected

LADDER = ladder(not_asked, not_asked, not_asked)
SUBTASK = Subtask(id="a", worker="extract", instruction="go")


def decide(router: Router, *tried: str) -> Decision:
    return router.decide(SUBTASK, worker("extract"), LADDER, Budget(), [rejected(tier) for tier in tried])


def test_every_tier_is_drawn_as_often_and_says_so() -> None:
    router = RandomRouter(seed=1)
    drawn = [decide(router) for _ in range(3_000)]
    assert {decision.propensity for decision in drawn} == {1 / 3}
    for count in Counter(decision.tier for decision in drawn).values():
        assert count == pytest.approx(1_000, abs=100)


def test_a_rejected_tier_is_not_drawn_again() -> None:
    router = RandomRouter(seed=1)
    after = [decide(router, "small") for _ in range(50)]
    assert {decision.tier for decision in after} == {"medium", "large"}
    assert {decision.propensity for decision in after} == {0.5}
    end = decide(router, "small", "medium", "large")
    assert (end.tier, end.why) == (None, "every tier was tried and rejected")


def test_the_same_seed_draws_the_same() -> None:
    first, second = RandomRouter(seed=7), RandomRouter(seed=7)
    assert [decide(first).tier for _ in range(30)] == [decide(second).tier for _ in range(30)]


def test_tiers_may_be_left_out_and_unknown_ones_are_named() -> None:
    router = RandomRouter(seed=1, tiers=["small", "large"])
    assert {decide(router).tier for _ in range(50)} == {"small", "large"}
    with pytest.raises(ConfigurationError, match="no tier 'huge'"):
        decide(RandomRouter(tiers=["huge"]))
    with pytest.raises(ConfigurationError, match="name at least one, each once"):
        RandomRouter(tiers=[])
