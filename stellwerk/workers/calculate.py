"""Calculate: the model says which figures, and this process computes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from pydantic import BaseModel, Field

from stellwerk.errors import ExpressionError
from stellwerk.worker import Brief, Example, Schema, Worker
from stellwerk.workers.claims import claims
from stellwerk.workers.create import create_worker
from stellwerk.workers.expression import evaluate, numbers_in
from stellwerk.workers.functions import Function, functions_of
from stellwerk.workers.grounding import cells_of, off_the_mark
from stellwerk.workers.quotes import mentions
from stellwerk.workers.scale import Scale as Unit
from stellwerk.workers.scale import declared_scale
from stellwerk.workers.selection import (
    Selection,
    closest_rows,
    columns_of_the_job,
    foreign_row,
    grid_of,
    named_rows,
    names_of,
    object_of,
    off_years,
    rows_of_the_job,
    select,
    settled_columns,
)
from stellwerk.workers.tables import Cell, Grid

PLACES = Decimal("0.0001")
_RANGE = re.compile(
    r"(?:19|20)\d\d\s*(?:to|through|until|[-–—])\s*[^.?]{0,25}?(?:19|20)\d\d|\bbetween\b", re.IGNORECASE
)
_IN_PERCENT = re.compile(r"\b(?:percent_change|share)\s*\(|\*\s*100\b")
_ORDERED = re.compile(r"^\s*(percent_change|change)\s*\(([^(),]*(?:,\d{3})*[^(),]*),\s+([^()]*)\)\s*$")
_OF_TWO = ("change", "percent_change", "share", "ratio")
_CONSTANTS = {Decimal(number) for number in (0, 1, 2, 3, 4, 5, 6, 10, 12, 100, 365)}

_PROMPT = """\
Say how the answer to the job is computed. Do not compute it.
Name the row or rows of the table whose figures are needed, word for word, and the columns. For a change name
the new one first, then the old one; for a share or ratio the part first, then the whole.
Where the figures stand in the text and not in a table, write an expression with them."""


class Formula(Selection):
    """A function of cells."""

    function: Function | None = None


class Expression(BaseModel):
    """Arithmetic over figures as they stand in the document."""

    expression: str = Field(min_length=1, max_length=400)


class Answer(BaseModel):
    """What the model writes."""

    answer: Formula | Expression


class Calculation(BaseModel):
    """A computed value: exact, rounded half up to four decimals.

    `unit` is the scale of the value, `rows` the table rows that its figures come from.
    """

    value: str
    unit: Unit
    expression: str
    rows: list[str] = []


def _formula(rows: list[str], columns: list[str], function: Function) -> dict[str, object]:
    return {"answer": {"rows": rows, "columns": columns, "function": function}}


EXAMPLES = (
    Example(
        instruction="By what percentage did sales change from 2020 to 2021?",
        answer=_formula(["Sales"], ["2021", "2020"], "percent_change"),
    ),
    Example(
        instruction="What is the difference between wages and rent in 2020?",
        answer=_formula(["Wages", "Rent"], ["2020"], "change"),
    ),
    Example(
        instruction="What is the average rent for 2019 to 2021?",
        answer=_formula(["Rent"], ["2021", "2020", "2019"], "average"),
    ),
    Example(
        instruction="What was cash as a percentage of total assets in 2021?",
        answer=_formula(["Cash", "Total assets"], ["2021"], "share"),
    ),
    Example(
        instruction="How many more shops opened than closed? (The text: We opened 12 shops and closed 5.)",
        answer={"answer": {"expression": "12 - 5"}},
    ),
)


def calculate_worker(name: str = "calculate") -> Worker:
    """A worker that answers with a computed number and the expression behind it.

    The model names a function, rows and columns; this process reads the cells and computes.
    """
    return create_worker(
        name,
        description=(
            "compute a number that is not in the documents: a change, difference, percentage, share, "
            "ratio, average, sum or count"
        ),
        output=Answer,
        prompt=_PROMPT,
        examples=EXAMPLES,
        checks=(figures_are_in_the_source, figures_fit_the_job),
        finish=compute,
        narrow=_narrow,
        claims=claims("calculate"),
        max_tokens=200,
    )


def compute(answer: Answer, brief: Brief) -> Calculation:
    """Read the cells that the model points at, and evaluate the expression.

    Raises:
        ExpressionError: if it is malformed or has no finite value.
        ValueError: if a cell has no figure, or a function another number of figures than it takes.
    """
    formula, rows = answer.answer, list[str]()
    if isinstance(formula, Expression):
        expression = _later_first(formula.expression, brief)
        unit = _unit(expression, brief)
    else:
        tables, functions = grid_of(brief), functions_of(brief.instruction)
        if len(functions) > 1 and formula.function is None:
            raise ValueError(f"the function is missing; name one of {', '.join(functions)}")
        function = functions[0] if len(functions) == 1 else formula.function or functions[0]
        cells = select(formula, tables, _settled(tables, brief.instruction, functions))
        rows = list(dict.fromkeys(formula.rows))
        if (row := foreign_row(rows, brief.instruction)) is not None:
            raise ValueError(f"the job says nothing of the row {row!r}")
        if problem := off_years(cells, brief.instruction, tables, all_named=False):
            raise ValueError(problem)
        expression = _written(function, cells)
        unit = _unit_of(function, cells, brief)
    value = evaluate(expression)
    try:
        rounded = value.quantize(PLACES, rounding=ROUND_HALF_UP).normalize()
    except ArithmeticError as error:
        raise ExpressionError(f"{expression!r} is too large to be given to four decimals") from error
    return Calculation(value=f"{rounded + 0:f}", unit=unit, expression=expression, rows=rows)


def _settled(tables: Grid, instruction: str, functions: Sequence[Function]) -> tuple[str, ...]:
    """The columns, where the job's words leave no choice."""
    if len(functions) > 1:
        return ()
    function, ranged = functions[0], _RANGE.search(instruction) is not None
    columns = settled_columns(tables, instruction, between=ranged and function in ("average", "sum"))
    if function in ("change", "percent_change"):
        return columns if len(columns) == 2 else ()
    if function in ("share", "ratio"):
        return columns if len(columns) == 1 else ()
    return columns


def _narrow(schema: Schema, brief: Brief) -> Schema:
    tables, functions = grid_of(brief), functions_of(brief.instruction)
    forms: list[Schema] = []
    if tables.rows:
        columns = _settled(tables, brief.instruction, functions)
        shapes = _shapes(tables, brief.instruction, functions, columns)
        possible = columns_of_the_job(tables, brief.instruction)
        for (least, most), across in shapes:
            rows = rows_of_the_job(tables, brief.instruction, wanted=least)
            form: Schema = {"rows": names_of(rows, least, min(most, max(least, len(rows))))}
            if not columns:
                offered = possible if len(possible) >= across[0] else tables.columns
                form["columns"] = names_of(offered, *across)
            if len(functions) > 1:
                form["function"] = {"type": "string", "enum": list(functions)}
            forms.append(object_of(form))
    forms.append(object_of({"expression": {"type": "string", "minLength": 1, "maxLength": 400}}))
    return object_of({"answer": {"anyOf": forms} if len(forms) > 1 else forms[0]}) | {"title": "calculation"}


def _shapes(
    tables: Grid, instruction: str, functions: Sequence[Function], columns: Sequence[str]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Least and most rows, least and most columns: of one row under several columns, or the reverse."""
    several = min(len(tables.columns), 6)
    if len(functions) > 1:
        return [((1, 4), (1, several))]
    function = functions[0]
    named = named_rows(tables, instruction)
    if function not in ("share", "ratio"):
        named = closest_rows(named, instruction)
    rows = 1 if function in _OF_TWO else max(1, len(named))  # 'the total of sales and cash in both years'
    one_row = ((1, rows), (2, 2 if function in _OF_TWO else max(2, several)))
    one_column = ((2, 2 if function in _OF_TWO and function != "share" else 4), (1, 1))
    if columns:
        return [one_row if len(columns) > 1 else one_column]
    if len(tables.columns) == 1 or len(named) > 1:
        return [one_column]
    if named:
        return [one_row]
    return [((1, one_column[0][1]), (1, one_row[1][1]))]  # either; one form, as branches must differ at once


def _written(function: Function, cells: Sequence[Cell]) -> str:
    figures = [(cell.figure, cell) for cell in cells]
    if function == "share" and len(figures) > 2:
        parts = " + ".join(f"{value:f}" for value, _ in figures[:-1])
        return f"share({parts}, {figures[-1][0]:f})"
    if function in _OF_TWO:
        if len(figures) != 2:
            raise ValueError(
                f"{function} takes two figures, and {len(figures)} are named; name one row and two columns, "
                "or two rows and one column"
            )
        (_, first), (_, second) = figures
        # The later year is the new one. Small models follow the order of the words.
        if function.endswith("change") and first.row == second.row and first.years and second.years:
            figures.sort(key=lambda figure: max(figure[1].years), reverse=True)
    values = [f"{value:f}" for value, _ in figures]
    return f"({values[0]}) / ({values[1]})" if function == "ratio" else f"{function}({', '.join(values)})"


def _unit_of(function: Function, cells: Sequence[Cell], brief: Brief) -> Unit:
    if function in ("percent_change", "share"):
        return "percent"
    if function in ("ratio", "count"):
        return ""
    scales = {declared_scale(brief.source, cell.start) for cell in cells}
    return scales.pop() if len(scales) == 1 else ""


def figures_are_in_the_source(result: Calculation, brief: Brief) -> str | None:
    """Every figure but for small constants has to stand in the documents, the inputs or the job."""
    if result.rows:  # read from the table by this process
        return None
    known = f"{brief.source}\n{brief.instruction}"
    for literal in numbers_in(result.expression):
        if _number(literal) not in _CONSTANTS and not mentions(literal, known):
            return f"the figure {literal} is not in the documents"
    return None


def figures_fit_the_job(result: Calculation, brief: Brief) -> str | None:
    """Figures come from the rows and years that the job names, where the table has them."""
    figures = list(_figures(result.expression))
    if not figures and not any(mentions(number, brief.source) for number in numbers_in(result.expression)):
        return "the expression uses no figure of the documents"
    if len(numbers_in(result.expression)) == 1 and "count" not in result.expression:
        return "one figure alone is no calculation"
    return None if result.rows else off_the_mark(figures, brief)


def _figures(expression: str) -> Iterator[Decimal]:
    for literal in numbers_in(expression):
        if (number := _number(literal)) not in _CONSTANTS:
            yield number


def _number(literal: str) -> Decimal:
    return Decimal(literal.replace(",", "").rstrip("% "))


def _later_first(expression: str, brief: Brief) -> str:
    """Put the later year's figure first, where the table tells which that is.

    'The change between 2019 and 2018' is asked in every order of years and always means the later less
    the earlier; small models follow the order of the words.
    """
    if not (match := _ORDERED.match(expression)):
        return expression
    function, first, second = match.groups()
    try:
        new, old = (cells_of(_number(figure.strip(" $()")), brief) for figure in (first, second))
    except ArithmeticError:
        return expression
    same_row = new and old and new[0].row == old[0].row
    if same_row and new[0].years and old[0].years and max(new[0].years) < max(old[0].years):
        return f"{function}({second.strip()}, {first.strip()})"
    return expression


def _unit(expression: str, brief: Brief) -> Literal["", "thousand", "million", "billion", "percent"]:
    if _IN_PERCENT.search(expression):
        return "percent"
    if expression.lstrip().startswith("count"):
        return ""
    scales = []
    for figure in _figures(expression):
        if found := cells_of(figure, brief):
            scales.append(declared_scale(brief.source, found[0].start))
    if not scales or len(set(scales)) > 1:
        return ""
    return "" if _is_ratio(expression) else scales[0]


def _is_ratio(expression: str) -> bool:
    # figure / figure has no scale; figure / 2 keeps it
    divisor = re.search(r"/\s*(\(|[\d.,]+)", expression)
    if divisor is None:
        return False
    return divisor[1] == "(" or _number(divisor[1].rstrip(".,")) not in _CONSTANTS
