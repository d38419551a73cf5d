"""Calculate: the model writes an expression, and this process computes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from pydantic import BaseModel, Field

from stellwerk.errors import ExpressionError
from stellwerk.worker import Brief, Example, Worker
from stellwerk.workers.create import create_worker
from stellwerk.workers.expression import evaluate, numbers_in
from stellwerk.workers.grounding import cells_of, off_the_mark
from stellwerk.workers.quotes import mentions
from stellwerk.workers.scale import declared_scale

PLACES = Decimal("0.0001")
_IN_PERCENT = re.compile(r"\b(?:percent_change|share)\s*\(|\*\s*100\b")
_ORDERED = re.compile(r"^\s*(percent_change|change)\s*\(([^(),]*(?:,\d{3})*[^(),]*),\s+([^()]*)\)\s*$")
_CONSTANTS = {Decimal(number) for number in (0, 1, 2, 3, 4, 5, 6, 10, 12, 100, 365)}

_PROMPT = """\
Write the arithmetic that answers the job, as one expression over figures of the document. Do not compute it.
Name the row first, then write the expression with the figures as they stand there. Functions:
change(new, old) for a change or difference; percent_change(new, old); average(a, b, ...); sum(a, b, ...);
share(part, whole) for a percentage of something; count(a, b, ...) for how many. Otherwise use + - * /.
The later year is the new one, also where the job names it last or first."""


class Expression(BaseModel):
    """What the model writes."""

    row: str = Field(max_length=200)
    expression: str = Field(min_length=1, max_length=400)


class Calculation(BaseModel):
    """A computed value: exact, rounded half up to four decimals. `unit` is the scale of the value."""

    value: str
    unit: Literal["", "thousand", "million", "billion", "percent"]
    expression: str


EXAMPLES = (
    Example(
        instruction="By what percentage did sales change from 2020 to 2021? (Sales: 2021 5,200; 2020 4,100)",
        answer={"row": "Sales", "expression": "percent_change(5200, 4100)"},
    ),
    Example(
        instruction="What was the change in wages between 2020 and 2021? (Wages: 2020 310; 2021 295)",
        answer={"row": "Wages", "expression": "change(295, 310)"},
    ),
    Example(
        instruction="What is the average rent for 2019 to 2021? (Rent: 2021 12.5; 2020 11.0; 2019 10.4)",
        answer={"row": "Rent", "expression": "average(12.5, 11.0, 10.4)"},
    ),
    Example(
        instruction="What share of total assets was cash in 2021? (2021: Cash 40; Total assets 900)",
        answer={"row": "Cash, Total assets", "expression": "share(40, 900)"},
    ),
    Example(
        instruction="What is the ratio of debt to equity in 2020? (2020: Debt 75; Equity 150)",
        answer={"row": "Debt, Equity", "expression": "75 / 150"},
    ),
)


def calculate_worker(name: str = "calculate") -> Worker:
    """A worker that answers with a computed number and the expression behind it."""
    return create_worker(
        name,
        description=(
            "compute a number that is not in the documents: a change, difference, percentage, share, "
            "ratio, average, sum or count"
        ),
        output=Expression,
        prompt=_PROMPT,
        examples=EXAMPLES,
        checks=(figures_are_in_the_source, figures_fit_the_job),
        finish=compute,
        max_tokens=160,
    )


def compute(answer: Expression, brief: Brief) -> Calculation:
    """Evaluate the expression.

    Raises:
        ExpressionError: if it is malformed or has no finite value.
    """
    expression = _later_first(answer.expression, brief)
    value = evaluate(expression)
    try:
        rounded = value.quantize(PLACES, rounding=ROUND_HALF_UP).normalize()
    except ArithmeticError as error:
        raise ExpressionError(f"{expression!r} is too large to be given to four decimals") from error
    return Calculation(value=f"{rounded + 0:f}", unit=_unit(expression, brief), expression=expression)


def figures_are_in_the_source(result: Calculation, brief: Brief) -> str | None:
    """Every figure but for small constants has to stand in the documents, the inputs or the job."""
    known = f"{brief.source}\n{brief.instruction}"
    for literal in numbers_in(result.expression):
        if _number(literal) not in _CONSTANTS and not mentions(literal, known):
            return f"the figure {literal} is not in the documents"
    return None


def figures_fit_the_job(result: Calculation, brief: Brief) -> str | None:
    """Figures come from the rows and years that the job names, where the table has them."""
    figures = list(_figures(result.expression))
    if not figures:
        return "the expression uses no figure of the documents"
    if len(numbers_in(result.expression)) == 1 and "count" not in result.expression:
        return "one figure alone is no calculation"
    return off_the_mark(figures, brief)


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
