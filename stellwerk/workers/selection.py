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
MOST_NAMES = 400  # rows and columns in a schema; a larger table leaves them open, and `select` checks them


class Selection(BaseModel):
    """Names of rows and columns; the cells where they cross are meant."""

    rows: list[str] = Field(min_length=1, max_length=20)
    columns: list[str] = Field(default=[], max_length=20)


def grid_of(brief: Brief) -> Grid:
    """The tables of the brief's documents and inputs."""
    return grid(brief.source)


def select(selection: Selection, tables: Grid, settled: Sequence[str] = ()) -> list[Cell]:
    """The cells meant, row by row; blank ones are left out.

    Args:
        selection: what the model named.
        tables: of the page.
        settled: the columns, where the selection names none.

    Raises:
        ValueError: if a name is unknown or no cell stands there.
    """
    columns = selection.columns or list(settled)
    for kind, named, known in (("row", selection.rows, tables.rows), ("column", columns, tables.columns)):
        for name in named:
            if name not in known:
                raise ValueError(f"there is no {kind} {name[:80]!r}; {kind}s: {', '.join(known)[:600]}")
    places = dict.fromkeys((row, column) for row in selection.rows for column in columns)
    cells = [tables.cells[place] for place in places if place in tables.cells]
    if not cells:
        raise ValueError(f"nothing stands in the row {selection.rows[0]!r} under {' or '.join(columns)}")
    return cells


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
    return tuple(row for row in rows if not any(matched[row] < other for other in matched.values()))


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
    """A row whose name has no word of the job, or None; a total has none of its own."""
    asked = _said(instruction)
    for row in rows:
        if not (words := _said(row)) or not words & (asked | {"total"}):
            return row
    return None


def columns_of_the_job(tables: Grid, instruction: str) -> tuple[str, ...]:
    """The columns that a job's years and words name; all where they name none."""
    named = years(instruction)
    columns = tables.columns
    if named and any(years(column) & named for column in columns):
        columns = tuple(column for column in columns if not years(column) or years(column) & named)
    asked = _said(instruction)
    share = {column: len(words & asked) / len(words) for column in columns if (words := _said(column))}
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


def _closest(columns: Sequence[str], asked: frozenset[str]) -> tuple[str, ...]:
    """The columns with the largest share of their words in the job; none if no column has half of them."""
    share = {column: len(words & asked) / len(words) for column in columns if (words := _said(column))}
    best = max(share.values(), default=0.0)
    return tuple(column for column, found in share.items() if found == best) if best >= 0.5 else ()


def _said(text: str) -> frozenset[str]:
    """Words of a name or a job, without years, footnotes, plurals and the smallest words."""
    found = re.findall(r"[a-z]+|\d{1,3}(?=[-–\s]*\w)", text.lower())
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
