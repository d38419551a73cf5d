import decimal
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.workers.quotes import find_quote, mentions, numbers


@pytest.mark.parametrize(
    ("quote", "source", "found"),
    [
        ("net sales rose", "In 2031 net sales rose.", "net sales rose"),
        ("NET  sales\nrose", "In 2031 Net sales rose.", "Net sales rose"),
        ("“Net sales” – the group's", 'our "net sales" - the group’s own', 'net sales" - the group’s'),
        ("5 % of sales", "it was 5\u00a0% of\u202fsales", "5\u00a0% of\u202fsales"),
        ("Timber 410 395", "Wood | 1 | 2\nTimber | 410 | 395\nTotal", "Timber | 410 | 395"),
        ("Timber | 410", "| **Timber** | 410 |", "Timber** | 410"),
        ("Year Total 7", "| Year | Total |\n|:---|---:|\n| 7 |", "Year | Total |\n|:---|---:|\n| 7"),
        ("Results by segment", "# Results\n> by `segment`", "Results\n> by `segment"),
        ("costs fell...", "All costs fell, too", "costs fell"),
        ("'costs fell.'", "All costs fell in May", "costs fell"),
        ("$ 410", "about $410", "$410"),
        ("a\\$b", "a$b", "a$b"),
        ("STRASSE", "die Straße", "Straße"),
        ("a a b", "a a a b", "a a b"),
        ("a b a c", "a b a b a c", "a b a c"),
    ],
)
def test_layout_case_and_typography_do_not_count(quote: str, source: str, found: str) -> None:
    span = find_quote(quote, source)
    assert span is not None
    assert source[span.start : span.end] == found


@pytest.mark.parametrize(
    ("quote", "source"),
    [
        ("", "text"),
        ("...", "wait ..."),
        (" ** ", "a ** b"),
        ("net sales fell", "net sales rose"),
        ("5", "15 and 5.2 and 1,5 and 0.5 and .5"),
        ("sale", "sales"),
        ("sales of 410", "sales of 4100"),
        ("sales of 1,410", "sales of 1,420"),
        ("total 5", "total -5"),
        ("total (5)", "total 5"),
        ("5 3", "5*3"),
        ("net sales", "net of sales"),
        ("a b c", "a b"),
    ],
)
def test_a_changed_word_or_digit_is_no_quote(quote: str, source: str) -> None:
    assert find_quote(quote, source) is None


words = st.lists(st.text("abcxyzäß0123456789", min_size=1, max_size=6), min_size=1, max_size=12)
gaps = st.sampled_from([" ", "\n", "\u00a0", " | ", "  ", "\t", " **", "** "])


@given(words, st.data())
def test_a_passage_is_found_whatever_stands_between_its_words(source: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(source) - 1))
    end = data.draw(st.integers(start + 1, len(source)))
    text = source[0] + "".join(data.draw(gaps) + word for word in source[1:])
    quote = " ".join(source[start:end]).upper()
    span = find_quote(quote, text)
    assert span is not None
    passage = text[span.start : span.end].replace("|", " ").replace("*", " ").split()
    assert [word.casefold() for word in passage] == [word.casefold() for word in source[start:end]]


@given(st.text(max_size=40), st.text(max_size=80))
def test_spans_lie_in_the_source_and_are_found_again(quote: str, source: str) -> None:
    span = find_quote(quote, source)
    if span is not None:
        assert 0 <= span.start < span.end <= len(source)
        assert find_quote(source[span.start : span.end], source) == span


@pytest.mark.parametrize(
    "source",
    [
        "a " * 1_000_000,
        " " * 10_000_000,
        "1" * 10_000_000,
        "1,234" * 400_000,
        "(" * 1_000_000,
        "$ " * 1_000_000,
    ],
)
def test_ten_megabytes_take_seconds_not_hours(source: str) -> None:
    started = time.process_time()
    assert find_quote("a " * 500 + "b", source) is None
    assert not mentions("2", source)
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5 of them"),
        ("$1,234", "sold 1234"),
        ("1234", "sold $1,234."),
        ("1,234", "US$1,234m"),
        ("12.5%", "a margin of 12.5"),
        ("12.5", "a margin of 12.50 %"),
        ("-12", "a loss of (12)"),
        ("(12)", "a change of −12"),
        ("12", "a loss of (12)"),
        ("5", "a change of -5"),
        ("2031", "2030-2031"),
        ("Oak Ltd.", "sold to OAK LTD in May"),
        ("$5 million", "about $5\nmillion"),
        ("10-K", "the Form 10-K"),
        ("Q4", "in Q4"),
    ],
)
def test_mentioned(value: str, text: str) -> None:
    assert mentions(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "15, 5.2, 0.5, 1,005, Q5 and 5th"),
        ("-12", "12"),
        ("(12)", "12"),
        ("1,234", "12,345"),
        ("$5 million", "$5 billion"),
        ("oak", "oaks"),
        ("", "text"),
        ("5", ""),
    ],
)
def test_not_mentioned(value: str, text: str) -> None:
    assert not mentions(value, text)


def test_numbers_are_compared_exactly_whatever_the_callers_decimal_context() -> None:
    with decimal.localcontext(prec=3):
        assert mentions("123456", "123456")
        assert not mentions("123456", "123457")
        assert not mentions("123456", "(123457)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,234.50", [("1234.50", "$1,234.50", False, False)]),
        ("(12) and 12", [("-12", "(12)", True, False), ("12", "12", False, False)]),
        ("$(12)", [("-12", "$(12)", True, False)]),
        ("($12)", [("-12", "($12)", True, False)]),
        ("( 12.5 )%", [("-12.5", "( 12.5 )%", True, True)]),
        ("(12.5%)", [("-12.5", "(12.5%)", True, True)]),
        (
            "-$5 $-6 −7",
            [("-5", "-$5", False, False), ("-6", "$-6", False, False), ("-7", "−7", False, False)],
        ),
        ("3%–5%", [("3", "3%", False, True), ("5", "5%", False, True)]),
        ("8 - 6", [("8", "8", False, False), ("6", "6", False, False)]),
        ("(5 million)", [("5", "5", False, False)]),
        ("(of 5)", [("5", "5", False, False)]),
        ("£5m, 7x, .5", [("5", "£5", False, False), ("7", "7", False, False), ("0.5", ".5", False, False)]),
        ("3rd Q4 1.2.3 1,23 v2 — –", []),
        ("41 | (7) | 9", [("41", "41", False, False), ("-7", "(7)", True, False), ("9", "9", False, False)]),
    ],
)
def test_numbers(text: str, expected: list[tuple[str, str, bool, bool]]) -> None:
    found = [(str(n.value), text[n.start : n.end], n.bracketed, n.percent) for n in numbers(text)]
    assert found == expected


@given(st.lists(st.decimals(-(10**9), 10**9, places=2, allow_nan=False), max_size=8))
def test_numbers_reads_back_a_row(values: list[Decimal]) -> None:
    row = " | ".join(f"({-value:,})" if value < 0 else f"${value:,}" for value in values)
    assert [number.value for number in numbers(row)] == values
    assert all(mentions(str(value), row) for value in values)


@given(st.text("0123456789.,()$%- |a", max_size=60))
def test_numbers_are_in_order_and_apart(text: str) -> None:
    end = 0
    for number in numbers(text):
        assert end <= number.start < number.end <= len(text)
        assert not text[number.start].isspace()
        end = number.end
