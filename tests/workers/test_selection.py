import pytest

from stellwerk.workers.selection import (
    Selection,
    columns_of_the_job,
    dated_columns,
    foreign_row,
    named_rows,
    rows_of_the_job,
    select,
    settled_columns,
)
from stellwerk.workers.tables import grid

TABLES = grid(
    "\n".join(
        [
            " | 2019 | 2018 | 2017",
            "Revenue | 100 | 90 | 80",
            "Cost of revenue | 60 | 50 |",
            "Gross profit | 40 | 40 | 35",
        ]
    )
)
GROUPS = grid(
    "\n".join(
        [
            " | Revenues |  | Income |",
            " | 2019 | 2018 | 2019 | 2018",
            "North | 1 | 2 | 3 | 4",
            "South | 5 | 6 | 7 | 8",
        ]
    )
)


def test_cells_are_read_row_by_row() -> None:
    chosen = select(Selection(rows=["Gross profit", "Revenue"], columns=["2018", "2019"]), TABLES)
    assert [cell.text for cell in chosen] == ["40", "40", "90", "100"]


def test_a_name_given_twice_is_read_once() -> None:
    assert len(select(Selection(rows=["Revenue", "Revenue"], columns=["2018", "2018"]), TABLES)) == 1


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (["Profit"], ["2019"], "there is no row 'Profit'; rows: Revenue, Cost of revenue, Gross profit"),
        (["Revenue"], ["2016"], "there is no column '2016'; columns: 2019, 2018, 2017"),
        (["Cost of revenue"], ["2017"], "nothing stands in the row 'Cost of revenue' under 2017"),
        (["Revenue"], [], "nothing stands in the row 'Revenue' under no column"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(rows: list[str], columns: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(Selection(rows=rows, columns=columns), TABLES)


@pytest.mark.parametrize(
    ("job", "wanted", "rows"),
    [
        ("What was the cost of revenue in 2019?", 1, ("Cost of revenue",)),
        ("What was the cost of revenue as a percentage of revenue?", 2, ("Revenue", "Cost of revenue")),
        ("What were gross profits?", 1, ("Gross profit",)),
        ("How many ships are there?", 1, ("Revenue", "Cost of revenue", "Gross profit")),
        ("What was the gross profit?", 2, ("Revenue", "Cost of revenue", "Gross profit")),
    ],
)
def test_the_jobs_words_narrow_the_rows(job: str, wanted: int, rows: tuple[str, ...]) -> None:
    assert rows_of_the_job(TABLES, job, wanted=wanted) == rows


def test_a_row_is_named_when_the_job_says_all_its_words() -> None:
    assert named_rows(TABLES, "the gross profit of revenue") == ("Revenue", "Gross profit")
    assert named_rows(TABLES, "the profit", share=0.5) == ("Gross profit",)


@pytest.mark.parametrize(
    ("job", "between", "columns"),
    [
        ("from 2017 to 2019", False, ("2019", "2017")),
        ("from 2017 to 2019", True, ("2019", "2018", "2017")),
        ("in 2018", False, ("2018",)),
        ("in 2016", False, ()),
        ("over time", False, ()),
    ],
)
def test_the_jobs_years_settle_the_columns(job: str, between: bool, columns: tuple[str, ...]) -> None:
    assert settled_columns(TABLES, job, between=between) == columns


def test_where_a_year_has_several_columns_the_jobs_words_choose() -> None:
    assert settled_columns(GROUPS, "revenues of North in 2018 and 2019") == ("Revenues 2019", "Revenues 2018")
    assert settled_columns(GROUPS, "North in 2018 and 2019") == ()
    assert columns_of_the_job(GROUPS, "North in 2018") == ("Revenues 2018", "Income 2018")
    assert dated_columns(GROUPS, "in which year was income of North larger") == ("Income 2019", "Income 2018")


def test_a_row_without_a_word_of_the_job_is_foreign() -> None:
    assert foreign_row(["Gross profit"], "What was revenue?") == "Gross profit"
    assert foreign_row(["Revenue", "total"], "What was revenue in total?") is None
