from decimal import Decimal

import pytest

from stellwerk.worker import Brief
from stellwerk.workers.comparison import Comparison, comparison_of
from stellwerk.workers.tables import grid

SOURCE = "(in thousands) | 2019 | 2018 | 2017\nSales | 700 | 500 | 900\nRent | n/a | 5 | 6"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("In which year were sales larger?", Comparison("largest")),
        ("Which year had the lowest sales?", Comparison("smallest")),
        ("In which years were sales less than 600 thousand?", Comparison("below", Decimal(600), "thousand")),
        ("In what year did sales exceed $600?", Comparison("above", Decimal(600))),
        ("In which year were sales higher than in 2018?", Comparison("above", year="2018")),
        ("How much higher were sales in 2019?", None),
        ("Which years does the table show?", None),
    ],
)
def test_the_words_say_what_is_compared(job: str, expected: Comparison | None) -> None:
    assert comparison_of(job) == expected


@pytest.mark.parametrize(
    ("comparison", "columns"),
    [
        (Comparison("largest"), ["2017"]),
        (Comparison("smallest"), ["2018"]),
        (Comparison("above", Decimal(600)), ["2019", "2017"]),
        (Comparison("below", Decimal("0.6"), "million"), ["2018"]),
    ],
)
def test_figures_are_compared_in_the_unit_of_their_table(comparison: Comparison, columns: list[str]) -> None:
    tables, brief = grid(SOURCE), Brief(instruction="Which year?", documents=[{"name": "a", "text": SOURCE}])
    sales = [cell for (row, _), cell in tables.cells.items() if row == "Sales"]
    assert [cell.column.split()[-1] for cell in comparison.apply(sales, brief)] == columns


def test_what_cannot_be_compared_is_refused() -> None:
    tables, brief = grid(SOURCE), Brief(instruction="Which year?", documents=[{"name": "a", "text": SOURCE}])
    rent = [cell for (row, _), cell in tables.cells.items() if row == "Rent"]
    with pytest.raises(ValueError, match="'n/a' in row 'Rent' is no figure"):
        Comparison("largest").apply(rent, brief)
    with pytest.raises(ValueError, match="no figure of that row is above 50"):
        Comparison("above", Decimal(50)).apply(rent[1:], brief)
