import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.workers.literals import Number, dates, names, number_lists, numbers, spans


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = 3, b = -11, and c = -4", [3, -11, -4]),
        ("the year 2021-22", [2021, 22]),
        ("5 - 3", [5, -3]),
        ("charges of 1e-9 and 2.5e3", [1e-9, 2500]),
        ("213 million people on 8.5 million acres", [213_000_000, 8_500_000]),
        ("$1M and $1.2k, 9.8 m/s^2, 300K", [1_000_000, 1_200, 9.8, 300]),
        ("40% of $1,200.50", [40, 0.4, 1200.5]),
        ("1,000,000 and 3,4", [1_000_000, 3, 4]),
        ("five guests, twice", [5, 2]),
        ("33.4 N, 112.07 W", [33.4, -112.07]),
        ("at 6:30 PM", [6, 30]),
        ("none", []),
        ("no figures in ABC123", []),
    ],
)
def test_figures_are_read_in_their_order(text: str, found: list[Number]) -> None:
    assert numbers(text) == found


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=6, unique=True))
def test_every_figure_written_out_is_found(values: list[int]) -> None:
    assert numbers("; ".join(f"({value})" for value in values)) == values


def test_lists_of_figures() -> None:
    assert number_lists("scores 85, 90 and 88, bins of 5") == [[85, 90, 88]]
    assert number_lists("[5, 3, 4] in order") == [[5, 3, 4]]
    assert number_lists("40% and 60%") == [[40, 60], [0.4, 0.6]]
    assert number_lists("at (33.4 N, 112.1 W)") == [[33.4, -112.1]]
    assert number_lists("5 apples") == []


def test_dates_come_as_iso() -> None:
    assert dates("from December 13, 2019 to 3rd of May 2020") == ["2019-12-13", "2020-05-03"]
    assert dates("on February 31, 2020") == []


def test_runs_of_words_lose_what_surrounds_them() -> None:
    found = spans('Find "The Blue Lantern" in Graz (Austria).', 3)
    assert {"The Blue Lantern", "Graz", "Graz (Austria)", "Austria"} <= set(found)
    assert "John" in spans("John's book", 2)


@given(st.text(max_size=60), st.integers(1, 4))
def test_runs_of_words_stand_in_the_text(text: str, longest: int) -> None:
    assert all(span and span in text for span in spans(text, longest))


def test_names_are_runs_of_capitals() -> None:
    assert names("from New York City to Graz by train") == ["New York City", "Graz"]
