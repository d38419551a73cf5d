import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.workers.tables import cells, grid, words, years


def page(*lines: str) -> str:
    return "\n".join(["Table", *lines, "", "Text", "Sales rose by 7 percent in 2019."])


PLAIN = page(
    " |  | Years ended December 31, |",
    " | 2019 | 2018 | 2017",
    "Sales | $1,150 | $2,094 | (8,353)",
    "Rent | 1,301 | — | n/a",
    " | $2,451 | $2,094 | (8,353)",
)


def test_rows_and_columns_are_called_by_their_labels_and_years() -> None:
    tables = grid(PLAIN)
    assert tables.rows == ("Sales", "Rent", "total")
    assert tables.columns == ("2019", "2018", "2017")


@pytest.mark.parametrize(
    ("row", "column", "text", "value"),
    [
        ("Sales", "2019", "$1,150", Decimal(1150)),
        ("Sales", "2017", "(8,353)", Decimal(-8353)),
        ("Rent", "2018", "—", Decimal(0)),
        ("Rent", "2017", "n/a", None),
        ("total", "2018", "$2,094", Decimal(2094)),
    ],
)
def test_a_cell_has_its_text_its_figure_and_its_place(
    row: str, column: str, text: str, value: Decimal | None
) -> None:
    cell = grid(PLAIN).cells[row, column]
    assert (cell.text, cell.value) == (text, value)
    assert PLAIN[cell.start :].startswith(text)


def test_rows_of_the_same_label_are_told_apart_by_their_section() -> None:
    tables = grid(
        page(
            " | 2019 | 2018",
            "Basic earnings:  |  |",
            "Continuing | 114.3 | 123.4",
            " | 206.2 | 132.6",
            "Diluted earnings: |  |",
            "Continuing | 113.6 | 123.1",
        )
    )
    assert tables.rows == (
        "Basic earnings: Continuing",
        "Basic earnings: total",
        "Diluted earnings: Continuing",
    )


def test_what_spans_equal_groups_of_columns_belongs_to_each_of_them() -> None:
    tables = grid(
        page(
            " | 2019 |  | 2018 |",
            " | Men | Women | Men | Women",
            "Life expectancy | 86.8 | 88.9 | 87.3 | 89.3",
        )
    )
    assert tables.columns == ("2019 Men", "2019 Women", "2018 Men", "2018 Women")


def test_a_head_in_the_middle_begins_other_columns_for_the_same_rows() -> None:
    tables = grid(
        page(
            " | July 7, | April 14,",
            " | 2019 | 2019",
            "High | 87.84 | 85.32",
            " | July 8, | April 15,",
            " | 2018 | 2018",
            "High | 92.46 | 95.99",
        )
    )
    assert tables.rows == ("High",)
    assert tables.columns == ("July 7, 2019", "April 14, 2019", "July 8, 2018", "April 15, 2018")


def test_a_heading_within_the_table_is_no_head() -> None:
    tables = grid(page(" | 2019 | 2018", "Rent | 5 | 6", " | Income: |", "Rent | 7 | 8"))
    assert tables.columns == ("2019", "2018")
    assert tables.rows == ("Rent", "Income: Rent")


def test_columns_that_begin_with_a_number_are_still_heads() -> None:
    tables = grid(page("Obligations | Less than 1 year | 2-5 years", "Leases | $773 | $2,055"))
    assert tables.columns == ("Less than 1 year", "2-5 years")


@pytest.mark.parametrize(
    "source",
    [
        "| Item | 2019 | 2018 |\n|---|---:|---:|\n| Sales | 5 | 6 |\n| Rent | 7 | 8 |",
        "|Item|2019|2018|\n|-|-|-|\n|Sales|5|6|\n|Rent|7|8|",
        "| Item | 2019 | 2018\r\n| Sales | 5 | 6\r\n| Rent | 7 | 8\r\n",
    ],
)
def test_markdown_tables_are_tables(source: str) -> None:
    tables = grid(source)
    assert tables.rows == ("Sales", "Rent")
    assert tables.cells["Rent", "2018"].value == 8


def test_text_without_a_table_has_no_cells() -> None:
    assert grid("Sales rose by 7 percent in 2019.").rows == ()
    assert not list(cells("Sales rose by 7 percent in 2019."))


def test_long_names_are_shortened_where_they_stay_distinct() -> None:
    long = "Net income attributable to the stockholders of the corporation and its many subsidiaries"
    tables = grid(page(" | 2019", f"{long}, basic | 5", f"{long}, diluted | 6", f"Other {long} | 7"))
    assert tables.rows[:2] == (f"{long}, basic", f"{long}, diluted")
    assert len(tables.rows[2]) <= 60


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("2.1% - 3.4%", None),
        ("1 May 2019", None),
        ("(1,234) (2)", -1234),
        ("12 months", 12),
        ("Note 5", None),
    ],
)
def test_a_cell_has_a_value_if_it_is_clear_which(cell: str, value: int | None) -> None:
    assert grid(f" | A | B\nRow | {cell} | 5").cells["Row", "A"].value == value


@pytest.mark.parametrize(
    "source",
    [
        "a | 2019\nb | 1" + " " * 100_000 + "q",
        "\n\n".join(["Item | 2019\nSales | 5"] * 5_000),
        "\n".join(["text | more"] * 20_000 + ["Sales | 5"] * 2_000),
    ],
    ids=["spaces", "tables", "rows"],
)
def test_a_hostile_page_is_read_in_time_that_grows_with_its_size(source: str) -> None:
    started = time.process_time()
    grid(source)
    assert time.process_time() - started < 20  # quadratic code takes minutes


def test_figures_are_listed_with_their_years() -> None:
    found = {(cell.row, cell.text): cell.years for cell in cells(PLAIN)}
    assert found["Sales", "$2,094"] == {"2018"}
    assert ("Rent", "—") not in found


def test_fiscal_years_are_years() -> None:
    assert years("F19 against FY18 and FY'17, not F1") == {"2019", "2018", "2017"}
    assert "revenue" in words("the revenues of 2019")


_CELL = st.text(st.sampled_from("ab 1(),.$%—-:20189"), max_size=8)


@given(st.lists(st.lists(_CELL, min_size=1, max_size=5), max_size=8))
def test_any_table_gives_cells_that_stand_where_they_say(rows: list[list[str]]) -> None:
    source = "\n".join(" | ".join(row) for row in rows)
    tables = grid(source)
    for cell in tables.cells.values():
        assert source[cell.start :].startswith(cell.text)
    assert len(set(tables.rows)) == len(tables.rows)
