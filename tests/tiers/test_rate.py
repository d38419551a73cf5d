import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.rate import MINUTE, Rate

CALLS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 60), st.integers(0, 80)), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(requests=st.integers(1, 5), tokens=st.integers(60, 200), calls=CALLS)
def test_no_minute_ever_has_more_than_the_limits(
    requests: int, tokens: int, calls: list[tuple[int, int, int]]
) -> None:
    rate, now, made = Rate(requests, tokens), 0.0, list[tuple[float, int]]()
    for gap, expected, really in calls:
        now += gap
        now += rate.delay(expected, now)
        assert rate.delay(expected, now) == 0
        spent = rate.take(expected, now)
        assert spent is not None
        if really < expected:  # what a call takes beyond what was expected of it is known too late
            rate.correct(spent, really)
        made.append((now, min(really, expected)))
    for end, _ in made:
        inside = [count for at, count in made if end - MINUTE < at <= end]
        assert len(inside) <= requests
        assert sum(inside) <= tokens


def test_a_call_is_not_held_back_longer_than_needed() -> None:
    rate = Rate(tokens=100)
    for now, tokens in ((0.0, 30), (10.0, 40), (20.0, 30)):
        assert rate.delay(tokens, now) == 0
        rate.take(tokens, now)
    assert rate.delay(30, 30.0) == pytest.approx(MINUTE - 30)  # when the first is a minute old
    assert rate.delay(31, 30.0) == pytest.approx(MINUTE - 20)  # when the second is, too


def test_a_call_larger_than_the_limit_waits_for_an_empty_window_and_not_for_ever() -> None:
    rate = Rate(tokens=100)
    rate.take(1, 0.0)
    assert rate.delay(1_000, 10.0) == pytest.approx(MINUTE - 10)
    assert rate.delay(1_000, MINUTE) == 0


def test_more_tokens_than_expected_hold_back_the_next_call() -> None:
    rate = Rate(tokens=100)
    spent = rate.take(10, 0.0)
    assert spent is not None
    rate.correct(spent, 90)
    assert rate.delay(10, 1.0) == 0
    assert rate.delay(11, 1.0) == pytest.approx(MINUTE - 1)


def test_a_correction_that_comes_after_its_minute_changes_nothing() -> None:
    rate = Rate(tokens=100)
    spent = rate.take(100, 0.0)
    assert spent is not None
    assert rate.delay(100, MINUTE) == 0
    rate.correct(spent, 10)
    rate.take(100, MINUTE)
    assert rate.delay(1, MINUTE + 1) == pytest.approx(MINUTE - 1)


@pytest.mark.parametrize("limit", ["requests", "tokens"])
def test_an_impossible_rate_is_refused(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{limit}_per_minute is 0"):
        Rate(**{limit: 0})
