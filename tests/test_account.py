"""The account of a run: never more than allowed, and nobody waits for ever."""

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.account import Account
from stellwerk.budget import Budget, Limits, RunBudget
from stellwerk.errors import BudgetError, ConfigurationError, InputError
from stellwerk.outcome import Call, Usage
from stellwerk.spending import Spending, expected_spending
from stellwerk.tiers.tier import Price

PRICES = {"small": Price(input=1.0, output=1.0)}


def call(tokens: int) -> Call:
    usage = Usage(input=0, cached=0, output=tokens)
    return Call(step="generate", owner="make", tier="small", usage=usage, seconds=0.0)


def most(tokens: int) -> Spending:
    return Spending(tokens / 1e6, tokens, 1)


@given(
    allowed=st.integers(1, 60),
    wants=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    limit=st.sampled_from(["tokens", "usd"]),
)
def test_calls_at_once_never_take_more_than_allowed_and_none_is_left_waiting(
    allowed: int, wants: list[tuple[int, int]], order: object, limit: str
) -> None:
    """`wants` are what calls may take at most, and what they take; they end in any order."""
    budget = RunBudget(tokens=allowed) if limit == "tokens" else RunBudget(usd=allowed / 1e6)
    account = Account(budget, PRICES)
    places: dict[str, Future[None]] = {}
    for number, (at_most, _) in enumerate(wants):
        places[str(number)] = account.reserve(str(number), [], most(at_most))
    done: set[str] = set()
    taken = 0
    while under_way := [
        name for name, place in places.items() if place.done() and not place.exception() and name not in done
    ]:
        name = order.choice(under_way)  # type: ignore[attr-defined]  # a Random
        tokens = min(wants[int(name)])
        taken += tokens
        account.settle(name, [call(tokens)])
        account.attempted(name, [call(tokens)])
        done.add(name)
    assert taken <= allowed
    assert account.spent.tokens == taken
    refused = [name for name, place in places.items() if place.done() and place.exception()]
    assert len(done) + len(refused) == len(wants)  # each was made or refused
    # What was refused did not fit beside what was spent in the end.
    assert all(taken + wants[int(name)][0] > allowed for name in refused)


def test_a_call_waits_for_those_under_way_as_they_mostly_take_less() -> None:
    account = Account(RunBudget(tokens=10), PRICES)
    first, second = account.reserve("a", [], most(8)), account.reserve("b", [], most(8))
    assert first.done()
    assert not second.done()
    account.settle("a", [call(2)])
    assert second.result(0) is None


def test_who_gives_up_waiting_keeps_nothing() -> None:
    account = Account(RunBudget(calls=1), PRICES)
    account.reserve("a", [], most(1))
    waits = account.reserve("b", [], most(1))
    account.settle("b", [])
    account.settle("a", [])
    assert not waits.done()
    assert account.reserve("c", [], most(1)).result(0) is None


def test_a_refusal_says_what_was_allowed_and_what_the_call_may_take() -> None:
    account = Account(RunBudget(usd=0.001), PRICES, spent=Spending(0.0006, 600, 1))
    with pytest.raises(BudgetError, match=r"the run may take 0.001 USD, took 0.0006, .* may take 0.0005"):
        account.reserve("a", [], most(500)).result(0)
    assert account.ended == "usd"


def test_a_tier_without_a_price_is_refused_where_money_is_limited() -> None:
    unpriced = expected_spending(None, Usage(input=1, cached=0, output=1))
    with pytest.raises(BudgetError, match="the tier has no price; give it one"):
        Account(RunBudget(usd=1.0), {}).reserve("a", [], unpriced).result(0)
    Account(RunBudget(tokens=2), {}).reserve("a", [], unpriced).result(0)


def test_an_input_only_tightens_the_budget() -> None:
    budget = RunBudget(usd=1.0, calls=10).within({"usd": 2.0, "calls": 3, "seconds": 5})
    assert budget == RunBudget(usd=1.0, calls=3, seconds=5)
    assert RunBudget.of(budget.record()) == budget


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"dollars": 1}, "the budget has 'dollars'; a run has limits of seconds, usd, tokens, calls"),
        ({"usd": 0}, "usd is 0; a budget has to be above 0"),
        ({"calls": 1.5}, "calls is 1.5; a budget has to be a whole number"),
        ({"usd": "much"}, "usd is 'much'; a budget has to be a number"),
        ({"tokens": True}, "tokens is True; a budget has to be a whole number"),
        ({"seconds": float("nan")}, "seconds is nan; a budget has to be above 0"),
    ],
)
def test_a_budget_that_is_none_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        RunBudget().within(asked)


@pytest.mark.parametrize("kind", [Limits, Budget, RunBudget])
def test_limits_are_above_zero(kind: type[Limits]) -> None:
    with pytest.raises(ConfigurationError, match="calls is 0"):
        kind(calls=0)
