import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.workers.scale import Scale, declared_scale


def page(*lines: str) -> str:
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("declaration", "scale"),
    [
        ("(in thousands)", "thousand"),
        ("In millions, except per share data", "million"),
        ("(Dollars in thousands, except percentages)", "thousand"),
        ("in thousands of U.S. dollars", "thousand"),
        ("In millions of euros", "million"),
        ("Millions of Swedish kronor (SEK)", ""),
        ("Millions of Norwegian NOK", "million"),
        ("(millions)", "million"),
        ("$ million", "million"),
        ("$ in billions", "billion"),
        ("in US$ millions", "million"),
        ("in € million", "million"),
        ("$’000", "thousand"),
        ("US$'000", "thousand"),
        ("£000", "thousand"),
        ("$000s", "thousand"),
        ("(000s)", "thousand"),
        ("(‘000)", "thousand"),
        ("in 000's", "thousand"),
        ("HK$’Million", "million"),
        ("RMB in millions", "million"),
        ("£m", "million"),
        ("€ bn", "billion"),
        ("US$k", "thousand"),
        ("Rs. million", "million"),
        ("Euro", ""),
        ("$", ""),
        ("1,000", ""),
        ("$1,000", ""),
        ("in the main", ""),
        ("one in a million", ""),
    ],
)
def test_how_a_scale_is_declared(declaration: str, scale: Scale) -> None:
    table = page(f"{declaration} | 2031 | 2030", "Timber | 41 | 39")
    assert declared_scale(table) == scale
    assert declared_scale(table, table.index("41")) == scale
    caption = page(declaration, "", " | 2031 | 2030", "Timber | 41 | 39")
    assert declared_scale(caption, caption.index("41")) == scale


TABLE = page(
    "Harbour dues of 7.5 million were paid, and the fee rose by 3 to 8. In millions of cases nothing was "
    "due, as earlier reports on the harbours of the northern coast have shown at length.",
    "Results by harbour (in thousands, except share and per share data):",
    " | Year ended June 30, |  | ",
    " | 2031 | 2030 | % Change",
    "Dues | $ 4,100 | $ 3,900 | 5.1",
    "Crane hire | (212) | — | n.m.",
    "Berths (‘000 m) | 17 | 16 | 6.3",
    "Number of cranes | 31 | 30 | 3.3",
    "Occupancy (%) | 81 | 79 | 2.5",
    "Growth | 6% | 9 | 1.0",
    "Earnings per share | 1.25 | 1.10 | 13.6",
    "Weighted average shares | 880 | 870 | 1.1",
    "Towage as a percentage of dues:",
    "The towage contract of 2029 is worth $5 to $6 million a year, or 14 percent of dues.",
)


@pytest.mark.parametrize(
    ("figure", "scale"),
    [
        ("4,100", "thousand"),
        ("100 | $ 3,900", "thousand"),
        ("$ 3,900", "thousand"),
        ("Dues | $", "thousand"),
        ("(212)", "thousand"),
        ("17", "thousand"),
        ("5.1", "percent"),
        ("31 | 30", ""),
        ("3.3", "percent"),
        ("81", "percent"),
        ("6%", "percent"),
        ("1.25", ""),
        ("880", ""),
        ("7.5", "million"),
        ("5 million were", "million"),
        ("3 to 8", ""),
        ("8. In", ""),
        ("2029", ""),
        ("$5 to", "million"),
        ("6 million a", "million"),
        ("14 percent", "percent"),
    ],
)
def test_the_scale_of_one_figure(figure: str, scale: Scale) -> None:
    assert declared_scale(TABLE, TABLE.index(figure)) == scale


def test_without_an_offset_a_table_counts_before_a_caption_and_prose_not_at_all() -> None:
    assert declared_scale(TABLE) == "thousand"
    assert declared_scale(page("(in millions)", "a | £000", "b | 5")) == "thousand"
    assert declared_scale("The fleet cost $5 million.") == ""
    assert declared_scale("") == ""


@pytest.mark.parametrize(
    ("source", "figure", "scale"),
    [
        pytest.param(
            page(" | £m | % | Staff", "Wool | 41 | 12 | 77"), "41", "million", id="each column its own unit"
        ),
        pytest.param(
            page(" | £m | % | Staff", "Wool | 41 | 12 | 77"), "12", "percent", id="a percent column"
        ),
        pytest.param(
            page(" | £m | Employees", "Wool | 41 | 77"), "77", "", id="another column's unit does not spread"
        ),
        pytest.param(
            page(" |  | Due by year (in thousands) | ", " | 2031 | 2032 | Later", "Rent | 41 | 52 | 63"),
            "63",
            "thousand",
            id="a header spans the columns that it leaves empty",
        ),
        pytest.param(
            page(" | 1 to 3 years | Life (in years)", "(in thousands) | | ", "Rent | 41 | 4.5"),
            "41",
            "thousand",
            id="a band of years is no unit",
        ),
        pytest.param(
            page(" | 1 to 3 years | Life (in years)", "(in thousands) | | ", "Rent | 41 | 4.5"),
            "4.5",
            "",
            id="a column in years",
        ),
        pytest.param(
            page("(in millions) | 2031", "Wool | 41", "As a percentage of sales: | ", "Hemp | 52"),
            "52",
            "percent",
            id="a section of percentages",
        ),
        pytest.param(
            page("(in millions) | 2031", "Wool | 41", "As a percentage of sales: | ", "Hemp | 52"),
            "41",
            "million",
            id="before that section",
        ),
        pytest.param(
            page("Wool | 41 | %", "Hemp | 52 | %"), "52", "percent", id="a percent sign in a cell of its own"
        ),
        pytest.param(
            page(" | 2031", "Sales | 100.0%", "Costs | 61.5", "Result | 38.5"),
            "61.5",
            "percent",
            id="the percent sign on the first row only",
        ),
        pytest.param(
            page("(in thousands) | 2031", "Growth | 4%", "Costs | $61", "Result | 38"),
            "38",
            "thousand",
            id="a percentage above amounts of money",
        ),
        pytest.param(
            page("6.5% bonds (£m) | 41", "Hemp | 52"),
            "41",
            "million",
            id="a rate in a name is no percent row",
        ),
        pytest.param(
            page("(in thousands)", "a | 1", "(in millions)", "Wool | 41"),
            "41",
            "million",
            id="nearest caption",
        ),
        pytest.param(
            page("Wool | 41", "", "Amounts in the table are in millions."),
            "41",
            "million",
            id="caption after",
        ),
        pytest.param(
            page("(£m, shares in thousands)", " | 2031", "Result | 41", "Diluted shares | 52"),
            "52",
            "thousand",
            id="shares have their own scale",
        ),
        pytest.param(
            page("(shares in thousands)", " | 2031", "Result | 41", "Diluted shares | 52"),
            "41",
            "",
            id="the scale of shares is not that of money",
        ),
        pytest.param(
            page("In thousands except per share data", "Diluted shares | 52"),
            "52",
            "thousand",
            id="shares scaled",
        ),
        pytest.param(
            page("| | $m |", "|---|---:|", "| Wool | 41 |"), "41", "million", id="markdown with outer bars"
        ),
        pytest.param(
            page("(in thousands)", "a | b", "c | $5 million"), "5 m", "million", id="unit in the cell"
        ),
        pytest.param(page("(in thousands)", "Wool fetched 41."), "41", "", id="prose inherits nothing"),
        pytest.param(page("Sales were £41m."), "41", "million", id="letter after the figure"),
        pytest.param(page("Sales were 41 mild days."), "41", "", id="only a whole unit counts"),
        pytest.param(page("Sales of $1, $2 and $3 billion."), "1", "billion", id="a list shares its unit"),
        pytest.param(page("In 2031 and 5 million before"), "2031", "", id="a year takes no unit"),
        pytest.param(page("Margin (4.5)%"), "4.5", "percent", id="percent after the bracket"),
    ],
)
def test_tables_and_prose(source: str, figure: str, scale: Scale) -> None:
    assert declared_scale(source, source.index(figure)) == scale


def test_an_offset_outside_the_source_is_an_error() -> None:
    with pytest.raises(IndexError, match="offset 9 is outside the source of 3 characters"):
        declared_scale("abc", 9)
    with pytest.raises(IndexError):
        declared_scale("abc", -1)


@given(st.text("01 .,()|$%'’mk\nin thousands", max_size=120), st.data())
def test_any_text_at_any_offset_has_an_answer(source: str, data: st.DataObject) -> None:
    at = data.draw(st.none() | st.integers(0, len(source)))
    assert declared_scale(source, at) in get_args(Scale)


@given(st.integers(0, 10**6), st.sampled_from(["thousand", "million", "billion"]))
def test_every_row_inherits_the_table(value: int, scale: Scale) -> None:
    table = page(f"(in {scale}s) | 2031 | 2030", *(f"Row {n} | {value} | {value:,}" for n in range(3)))
    for line in range(1, 4):
        offset = sum(len(x) + 1 for x in table.split("\n")[:line])
        assert declared_scale(table, offset + len("Row 0 | ")) == scale


@pytest.mark.parametrize("filler", [" ", "1", "1,", "$ ", "in ", "(", "5 to ", "a | ", "except "])
def test_a_long_line_takes_no_long_time(filler: str) -> None:
    source = page("(in thousands) | x", "Wool | " + filler * 20_000 + "x | 5")
    started = time.process_time()
    declared_scale(source)
    declared_scale(source, source.index("Wool"))
    declared_scale(source, len(source) - 1)
    declared_scale(filler * 20_000, 0)
    assert time.process_time() - started < 5
