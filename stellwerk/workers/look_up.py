"""Look up: cells of a table, by the names of their rows and columns."""

from __future__ import annotations

import re

from stellwerk.worker import Brief, Example, Schema, Worker
from stellwerk.workers.claims import claims
from stellwerk.workers.comparison import comparison_of
from stellwerk.workers.create import create_worker
from stellwerk.workers.extract import Facts, line_at
from stellwerk.workers.scale import Scale, declared_scale
from stellwerk.workers.selection import (
    Selection,
    columns_of_the_job,
    dated_columns,
    foreign_row,
    grid_of,
    names_of,
    object_of,
    off_years,
    rows_of_the_job,
    select,
    settled_columns,
)
from stellwerk.workers.tables import Cell, years

_SEVERAL = re.compile(r"\b(?:and|respective|respectively|both|each|all)\b|,", re.I)

_PROMPT = """\
Point at the answer to the job in the table: name its row, word for word, and its column. Name several rows
or columns only where several figures are asked for. Where the job asks which year is larger or smaller, name
the row to compare."""

EXAMPLES = (
    Example(instruction="What were the wages in 2020?", answer={"rows": ["Wages"], "columns": ["2020"]}),
    Example(
        instruction="What were sales in 2020 and 2021, respectively?",
        answer={"rows": ["Sales"], "columns": ["2020", "2021"]},
    ),
    Example(instruction="What share of staff works in Graz?", answer={"rows": ["Graz"], "columns": ["%"]}),
)


def look_up_worker(name: str = "look_up") -> Worker:
    """A worker that reads cells of a table.

    The model names rows and columns, and this process reads what stands there; for 'in which year was
    ... larger', it names the row, and this process compares.
    """
    return create_worker(
        name,
        description="read figures from a table of the documents, or tell in which year one is larger",
        output=Selection,
        prompt=_PROMPT,
        examples=EXAMPLES,
        finish=read,
        narrow=_narrow,
        claims=claims("look_up"),
        max_tokens=200,
    )


def read(answer: Selection, brief: Brief) -> Facts:
    """Read the cells that the model points at.

    Raises:
        ValueError: if there is no table, a name is unknown, or nothing stands there.
    """
    tables = grid_of(brief)
    if not tables.cells:
        raise ValueError("the documents have no table")
    if (row := foreign_row(answer.rows, brief.instruction)) is not None:
        raise ValueError(f"the job says nothing of the row {row!r}")
    comparison, dated = comparison_of(brief.instruction), dated_columns(tables, brief.instruction)
    if comparison and dated:
        cells = comparison.apply(select(answer, tables, dated), brief)
        found = [(min(years(cell.column)), "") for cell in cells]
    else:
        cells = select(answer, tables, settled_columns(tables, brief.instruction))
        if problem := off_years(cells, brief.instruction, tables, all_named=True):
            raise ValueError(problem)
        found = [(cell.text, _unit(cell, brief)) for cell in cells]
    units = {unit for _, unit in found}
    return Facts(
        answer=[text for text, _ in found],
        quotes=[line_at(brief.source, cell.start) for cell in cells],
        unit=units.pop() if len(units) == 1 else "",
    )


def _narrow(schema: Schema, brief: Brief) -> Schema:
    tables, job = grid_of(brief), brief.instruction
    if not tables.cells:  # there is nothing to name, and `read` says so
        return object_of({"rows": names_of(["none"], 1, 1)}) | {"title": "cells"}
    rows, columns = rows_of_the_job(tables, job), settled_columns(tables, job)
    if comparison_of(job) and dated_columns(tables, job):
        return object_of({"rows": names_of(rows, 1, 1)}) | {"title": "cells"}
    several = 4 if _SEVERAL.search(job) else 1
    properties: Schema = {"rows": names_of(rows, 1, 1 if len(columns) > 1 else min(several, len(rows)))}
    if not columns:
        possible = columns_of_the_job(tables, job)
        properties["columns"] = names_of(possible, 1, min(several, len(possible)))
    return object_of(properties) | {"title": "cells"}


def _unit(cell: Cell, brief: Brief) -> Scale:
    if cell.value is None or re.search(r"[A-Za-z%]", cell.text):
        return ""  # words have none, and some figures carry their own
    return declared_scale(brief.source, cell.start)
