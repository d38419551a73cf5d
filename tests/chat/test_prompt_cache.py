from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from stellwerk.chat.prompt_cache import Prompt, Warm, stays_cheaper
from stellwerk.outcome import Usage
from stellwerk.tiers.tier import Price, Tier
from tests.fakes import Scripted, not_asked

FIRST: list[BaseMessage] = [HumanMessage("q" * 4000)]
SECOND: list[BaseMessage] = [*FIRST, AIMessage("a" * 400), HumanMessage("r" * 400)]
USAGE = Usage(input=1000, cached=0, output=100)


def tier(name: str, price: Price | None) -> Tier:
    return Tier(name=name, model=Scripted(reply=not_asked), price=price)


def warm(messages: list[BaseMessage], *, cached: int = 0, before: Warm | None = None) -> Warm:
    return Prompt(["system"], messages).warmed(before, Usage(**{**USAGE, "cached": cached}), 100.0, 300.0)


SMALL = tier("small", Price(input=1.0, output=1.0))
LARGE = tier("large", Price(input=5.0, cached=0.2, output=5.0))


def test_the_costs_are_those_of_the_next_call() -> None:
    # 1100 tokens are cached and about 100 new ones come; the reply is expected to be as long as the last.
    costs = stays_cheaper(LARGE, SMALL, Prompt(["system"], SECOND), {"large": warm(FIRST)}, 101.0, 300.0)
    assert costs is not None
    staying, switching = costs
    assert staying == pytest.approx((1100 * 0.2 + 100 * 5.0 + 100 * 5.0) / 1e6, rel=0.01)
    assert switching == pytest.approx((1200 * 1.0 + 100 * 1.0) / 1e6, rel=0.01)


@pytest.mark.parametrize(("cached_price", "stays"), [(0.26, True), (0.28, False)])
def test_the_thread_stays_just_where_the_formula_says(cached_price: float, stays: bool) -> None:
    # 1100 * c + 200 * 5 < 1300 where c < 0.2727
    large = replace(LARGE, price=Price(input=5.0, cached=cached_price, output=5.0))
    prompt = Prompt(["system"], SECOND)
    found = stays_cheaper(large, SMALL, prompt, {"large": warm(FIRST)}, 101.0, 300.0)
    assert (found is not None) is stays


def test_what_the_other_tier_has_cached_counts_for_it() -> None:
    large = replace(LARGE, price=Price(input=5.0, cached=0.1, output=5.0))
    small = replace(SMALL, price=Price(input=1.0, cached=0.1, output=1.0))
    prompt = Prompt(["system"], SECOND)
    assert stays_cheaper(large, small, prompt, {"large": warm(FIRST)}, 101.0, 300.0)
    both = {"large": warm(FIRST), "small": warm(FIRST)}
    assert stays_cheaper(large, small, prompt, both, 101.0, 300.0) is None


@pytest.mark.parametrize(
    ("before", "messages", "now"),
    [
        (["another system prompt"], SECOND, 101.0),
        (["system"], SECOND[1:], 101.0),  # the history was cut
        (["system"], [HumanMessage("summed up"), *SECOND[1:]], 101.0),
        (["system"], [], 101.0),
        (["system"], SECOND, 401.0),  # too late
    ],
)
def test_another_beginning_or_an_old_cache_is_worth_nothing(
    before: list[str], messages: list[BaseMessage], now: float
) -> None:
    assert Prompt(before, messages).cached(warm(FIRST), now, 300.0) == 0
    assert Prompt(["system"], SECOND).cached(warm(FIRST), 101.0, 300.0) == 1100


def test_a_tier_that_had_nothing_cached_is_believed_again_once_it_has() -> None:
    first = warm(FIRST)
    refuted = warm(SECOND, before=first)
    assert (first["refuted"], refuted["refuted"]) == (False, True)
    assert warm(SECOND, before=refuted)["refuted"]
    assert not warm(SECOND, before=refuted, cached=900)["refuted"]
    assert not warm(SECOND, before=first, cached=900)["refuted"]


@pytest.mark.parametrize(
    ("last", "other"),
    [
        (LARGE, tier("small", None)),
        (tier("large", None), SMALL),
        (LARGE, LARGE),
        (SMALL, LARGE),
        (tier("large", Price(input=5.0, output=5.0)), SMALL),
    ],
)
def test_without_prices_or_where_nothing_is_to_be_saved_nobody_is_held(last: Tier, other: Tier) -> None:
    known = {last.name: warm(FIRST)}
    assert stays_cheaper(last, other, Prompt(["system"], SECOND), known, 101.0, 300.0) is None
