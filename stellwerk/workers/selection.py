"""Pointing at cells: a model names rows and columns of a page's tables, and this process reads them.

A small model copies a name that is in front of it far more reliably than it finds the one right figure
among forty. The names are part of the JSON schema, so it cannot name what is not there; and columns that
the job's years settle are not asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field

from stellwerk.worker import Brief, Schema
from stellwerk.workers.tables import Cell, Grid, grid, years

_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by did do does for from had has have in is it its of on or s the their to was "
        "were what when where which who with year years ended december how much many between both",
    )
)
# Of the rows or columns in a schema. A larger table leaves them open, and `select` checks them: servers cap
# the names of one list (OpenAI's: 15,000 characters beyond 250 names).
MOST_NAMES = 250


class Selection(BaseModel):
    """Names of rows and columns; the cells where they cross are meant."""

    rows: list[str] = Field(min_length=1, max_length=20)
    columns: list[str] = Field(default=[], max_length=20)


def grid_of(brief: Brief) -> Grid:
    """The tables of the brief's documents and inputs."""
    return grid(brief.source)


def select(selection: Selection, tables: Grid, settled: Sequence[str] = ()) -> list[Cell]:
    """The cells meant, row by row.

    Args:
        selection: what the model named.
        tables: of the page.
        settled: the columns, where the job settles them; what the model says of them does not count then.

    Raises:
        ValueError: if a name is unknown, no cell stands there, or a settled one is blank.
    """
    columns = list(settled) or selection.columns
    for kind, named, known in (("row", selection.rows, tables.rows), ("column", columns, tables.columns)):
        for name in named:
            if name not in known:
                raise ValueError(f"there is no {kind} {name[:80]!r}; {kind}s: {', '.join(known)[:600]}")
    places = dict.fromkeys((row, column) for row in selection.rows for column in columns)
    cells = [tables.cells[place] for place in places if place in tables.cells]
    if not cells or (settled and len(cells) < len(places)):
        nowhere = (selection.rows[0], "no column")
        row, column = next((place for place in places if place not in tables.cells), nowhere)
        raise ValueError(f"nothing stands in the row {row!r} under {column}")
    return cells


def off_years(cells: Sequence[Cell], instruction: str, tables: Grid, *, all_named: bool) -> str | None:
    """What is wrong with the years of some cells, or None.

    Args:
        cells: that an answer rests on.
        instruction: the job.
        tables: of the page; without a column or row of the job's years, nothing is judged.
        all_named: whether each cell has to be of a year that the job names. Otherwise one has to be, and
            where the job names several years, none may lie beyond them.
    """
    named = years(instruction)
    if not named or not any(cell.years & named for cell in tables.cells.values()):
        return None
    dated = [cell for cell in cells if cell.years]
    beyond = [cell for cell in dated if max(cell.years) < min(named) or min(cell.years) > max(named)]
    if all_named:
        wrong = [cell for cell in dated if not cell.years & named]
    elif dated and not any(cell.years & named for cell in dated):
        wrong = dated
    else:
        wrong = beyond if len(named) > 1 else []
    if not wrong:
        return None
    asked = " and ".join(sorted(named))
    return f"the job is about {asked}, and {wrong[0].text!r} is of {min(wrong[0].years)}"


def named_rows(tables: Grid, instruction: str, *, share: float = 1.0) -> tuple[str, ...]:
    """The rows whose names a job says.

    Args:
        tables: of the page.
        instruction: the job.
        share: of a name's words that the job has to say, above 0 and at most 1.
    """
    asked = _said(instruction)
    said = {row: _said(row) for row in tables.rows}
    return tuple(row for row, words in said.items() if words and len(words & asked) >= share * len(words))


def closest_rows(rows: Sequence[str], instruction: str) -> tuple[str, ...]:
    """Without those of which another's name says more that is asked: 'revenue' beside 'cost of revenue'."""
    asked = _said(instruction)
    matched = {row: _said(row) & asked for row in rows}
    distinct = set(matched.values())
    if len(distinct) > MOST_NAMES:  # comparing each with each would take long, and such a job names no row
        return tuple(rows)
    return tuple(row for row in rows if not any(matched[row] < other for other in distinct))


def rows_of_the_job(tables: Grid, instruction: str, *, wanted: int = 1) -> tuple[str, ...]:
    """The rows to choose from: those that the job names, fully or in part, or else all.

    Args:
        tables: of the page.
        instruction: the job.
        wanted: how many are needed at least.
    """
    for share in (1.0, 0.6):
        named = named_rows(tables, instruction, share=share)
        if wanted == 1:
            named = closest_rows(named, instruction)
        if len(named) >= wanted:
            return named
    return tables.rows


def foreign_row(rows: Sequence[str], instruction: str) -> str | None:
    """A row whose name has no word and no year of the job, or None; a mere total has none of its own."""
    asked, named = _said(instruction), years(instruction)
    for row in rows:
        words = _said(row) - {"total"}
        if (words or years(row)) and not words & asked and not years(row) & named:
            return row
    return None


def columns_of_the_job(tables: Grid, instruction: str) -> tuple[str, ...]:
    """The columns that a job's years and words name; all where they name none."""
    named = years(instruction)
    columns = tables.columns
    if named and any(years(column) & named for column in columns):
        columns = tuple(column for column in columns if not years(column) or years(column) & named)
    asked = _said(instruction)
    share = _shares(columns, asked)
    return tuple(column for column in columns if share.get(column, 0.0) >= 0.5) or columns


def settled_columns(tables: Grid, instruction: str, *, between: bool = False) -> tuple[str, ...]:
    """One column for each year that the job names, in the table's order; empty where that is not clear.

    Args:
        tables: of the page.
        instruction: the job.
        between: also the years between the first and the last one named.
    """
    named = years(instruction)
    by_year = _by_year(tables, instruction)
    if not named or not named <= by_year.keys():
        return ()
    wanted = {
        column
        for year, column in by_year.items()
        if year in named or (between and min(named) <= year <= max(named))
    }
    return tuple(column for column in tables.columns if column in wanted)


def dated_columns(tables: Grid, instruction: str) -> tuple[str, ...]:
    """One column for each year of the table, in its order; empty where there are not two."""
    found = set(_by_year(tables, instruction).values())
    return tuple(column for column in tables.columns if column in found) if len(found) > 1 else ()


def _by_year(tables: Grid, instruction: str) -> dict[str, str]:
    """The column of each year; of several, the one that the job's words name, and none if they do not."""
    by_year: dict[str, list[str]] = {}
    for column in tables.columns:
        if len(named := years(column)) == 1:
            by_year.setdefault(min(named), []).append(column)
    asked = _said(instruction)
    chosen = {
        year: columns if len(columns) == 1 else _closest(columns, asked) for year, columns in by_year.items()
    }
    return {year: columns[0] for year, columns in chosen.items() if len(columns) == 1}


def _shares(columns: Sequence[str], asked: frozenset[str]) -> dict[str, float]:
    """What share of each column's words the job has; columns without words are left out."""
    return {column: len(words & asked) / len(words) for column in columns if (words := _said(column))}


def _closest(columns: Sequence[str], asked: frozenset[str]) -> tuple[str, ...]:
    """The columns with the largest share of their words in the job; none if no column has half of them."""
    share = _shares(columns, asked)
    best = max(share.values(), default=0.0)
    return tuple(column for column, found in share.items() if found == best) if best >= 0.5 else ()


def _said(text: str) -> frozenset[str]:
    """Words of a name or a job, without years, footnotes, plurals and the smallest words."""
    found = re.findall(r"[^\W\d_]+|(?<!\d)\d{1,3}(?!\d)", text.lower())
    return frozenset(word.rstrip("s") if len(word) > 3 else word for word in found if word not in _SMALL)


def names_of(known: Sequence[str], least: int, most: int) -> Schema:
    """JSON schema of a list of these names."""
    item: Schema = {"type": "string"}
    if len(known) <= MOST_NAMES:
        item["enum"] = list(known)
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def object_of(properties: Schema) -> Schema:
    """JSON schema of an object that has all of these properties, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
