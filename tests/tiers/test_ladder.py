import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from tests.fakes import Scripted, not_asked


def tier(name: str, output: float | None = None) -> Tier:
    price = None if output is None else Price(output=output)
    return Tier(name=name, model=Scripted(reply=not_asked), price=price)


def test_a_ladder_is_a_sequence_from_cheap_to_dear() -> None:
    small, medium, large = tier("small", 1), tier("medium", 1), tier("large", 5)
    ladder = Ladder([small, medium, large])
    assert list(ladder) == [small, medium, large]
    assert (ladder.smallest, ladder.largest) == (small, large)
    assert (len(ladder), ladder[1], list(ladder[1:])) == (3, medium, [medium, large])
    assert ladder.names == ("small", "medium", "large")
    assert repr(ladder) == "Ladder(small < medium < large)"


def test_the_tier_above_is_the_next_dearer_one() -> None:
    ladder = Ladder([tier("small", 1), tier("large", 5)])
    assert ladder.above("small") is ladder.tier("large")
    assert ladder.above("large") is None


def test_a_ladder_of_one_tier_has_no_way_up() -> None:
    only = tier("only")
    assert Ladder([only]).smallest is Ladder([only]).largest is only
    assert Ladder([only]).above("only") is None


def test_a_ladder_needs_a_tier() -> None:
    with pytest.raises(ConfigurationError, match="the ladder has no tier"):
        Ladder([])


def test_two_tiers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="tiers share the name 'b'"):
        Ladder([tier("a"), tier("b"), tier("b")])


@pytest.mark.parametrize("between", [[], [tier("unpriced")]], ids=["side by side", "across an unpriced tier"])
def test_the_wrong_way_up_is_refused_with_both_prices(between: list[Tier]) -> None:
    with pytest.raises(ConfigurationError, match=r"'dear' \(5 USD .* stands below 'cheap' \(0\.5\)"):
        Ladder([tier("dear", 5), *between, tier("cheap", 0.5)])


def test_an_unknown_tier_is_named_with_the_nearest_known_one() -> None:
    ladder = Ladder([tier("small"), tier("large")])
    for look_up in (ladder.tier, ladder.above):
        with pytest.raises(ConfigurationError, match=r"no tier 'smal'; did you mean 'small'.*small, large"):
            look_up("smal")
    with pytest.raises(ConfigurationError, match="no tier 'gpt'; tiers: small, large"):
        ladder.tier("gpt")


def test_a_ladder_is_cut_at_both_ends_and_knows_what_is_nearest_to_the_rest() -> None:
    ladder = Ladder([tier("a"), tier("b"), tier("c"), tier("d")])
    assert ladder.between(None, None) is ladder
    assert ladder.between("b", None).names == ("b", "c", "d")
    cut = ladder.between("b", "c")
    assert cut.names == ("b", "c")
    assert [cut.nearest(name).name for name in "abcd"] == ["b", "b", "c", "c"]
    assert cut.between(None, "b").nearest("d").name == "b"
    with pytest.raises(ConfigurationError, match="no tier 'e'; tiers: b, c"):
        cut.nearest("e")
    with pytest.raises(
        ConfigurationError, match="'c' stands above the largest, 'b'; tiers, smallest first: a"
    ):
        ladder.between("c", "b")
