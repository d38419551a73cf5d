import pytest

from stellwerk.budget import Budget
from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Attempt, DecisionRecord, Verdict
from stellwerk.plan import Subtask
from stellwerk.routers import Fixed, Router, SmallestFirst
from tests.fakes import ladder, not_asked, worker

LADDER = ladder(not_asked, not_asked, not_asked)
SUBTASK = Subtask(id="a", worker="extract", instruction="go")


def rejected(tier: str, reason: str = "check") -> Attempt:
    decision = DecisionRecord(tier=tier, router="r", version="1", propensity=1.0, why="", estimates={})
    return Attempt(tier=tier, decision=decision, verdict=Verdict(accepted=False, reason=reason), calls=[])


def decide(router: Router, *history: Attempt) -> tuple[str | None, str]:
    decision = router.decide(SUBTASK, worker("extract"), LADDER, Budget(), history)
    assert decision.record()["tier"] == decision.tier
    assert decision.propensity == 1
    return decision.tier, decision.why


def test_the_smallest_tier_comes_first_and_each_rejection_moves_one_up() -> None:
    router = SmallestFirst()
    assert decide(router) == ("small", "small is the smallest tier")
    assert decide(router, rejected("small")) == (
        "medium",
        "small was rejected (check); medium is the next tier",
    )
    assert decide(router, rejected("small"), rejected("medium", "schema")) == (
        "large",
        "medium was rejected (schema); large is the next tier",
    )


def test_a_tier_that_was_tried_out_of_order_is_not_tried_again() -> None:
    router = SmallestFirst()
    assert decide(router, rejected("medium"), rejected("small"))[0] == "large"
    done = decide(router, rejected("large"), rejected("small"), rejected("medium"))
    assert done == (None, "medium was the last tier left and was rejected (check)")


def test_the_largest_tier_is_the_end() -> None:
    history = [rejected("small"), rejected("medium"), rejected("large", "length")]
    assert decide(SmallestFirst(), *history) == (None, "large is the largest tier and was rejected (length)")


def test_a_worker_may_start_higher_and_says_so() -> None:
    router = SmallestFirst({"extract": "medium"})
    assert decide(router) == ("medium", "extract is set to start at medium")
    assert decide(router, rejected("medium"))[0] == "large"
    assert decide(SmallestFirst({"write": "large"}))[0] == "small"


def test_an_unknown_tier_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no tier 'huge'"):
        decide(SmallestFirst({"extract": "huge"}))
    with pytest.raises(ConfigurationError, match="no tier 'huge'"):
        decide(Fixed("huge"))


def test_a_fixed_tier_is_tried_once() -> None:
    assert decide(Fixed("medium")) == ("medium", "fixed to medium")
    assert decide(Fixed("medium"), rejected("medium")) == (
        None,
        "medium was rejected, and no other tier is allowed",
    )


def test_a_budget_below_one_attempt_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="attempts is 0"):
        Budget(attempts=0)
