"""Checks that an answer rests on the part of the page that the job is about.

They need no model. A table says in words what each figure is, so a figure from a row or a column that
the job does not name, where it names another, is a wrong answer that looks right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from stellwerk.worker import Brief
from stellwerk.workers.tables import Cell, cells, words, years


def cells_of(value: Decimal, brief: Brief) -> list[Cell]:
    """The cells that hold a figure, with either sign, the one that fits the job best first."""
    asked, named = words(brief.instruction), years(brief.instruction)
    found = [cell for cell in cells(brief.source) if cell.value is not None and abs(cell.value) == abs(value)]
    return sorted(found, key=lambda cell: -_fit(cell, asked, named))


def off_the_mark(figures: Iterable[Decimal], brief: Brief) -> str | None:
    """What is wrong with the place that the figures come from, or None.

    Figures that stand in no table are not judged.

    Args:
        figures: the figures used or given, without constants.
        brief: the job and the page.
    """
    candidates = [found for figure in figures if (found := cells_of(figure, brief))]
    if not candidates:
        return None
    return _wrong_row(candidates, brief) or _wrong_years(candidates, brief)


def _fit(cell: Cell, asked: frozenset[str], named: frozenset[str]) -> float:
    label = words(cell.row)
    in_row = len(label & asked) / len(label) if label else 0.0
    column = words(cell.column) - named
    in_column = len(column & asked) / len(column) if column else 0.0
    return 2 * in_row + in_column + (1.0 if cell.years & named else 0.0)


def _wrong_row(candidates: Sequence[Sequence[Cell]], brief: Brief) -> str | None:
    asked = words(brief.instruction)
    named = {cell.row for cell in cells(brief.source) if (label := words(cell.row)) and label <= asked}
    if not named:
        return None
    # A longer label says more: 'revenue' is also in 'cost of revenue'.
    longest = max(len(words(label)) for label in named)
    named = {label for label in named if len(words(label)) == longest}
    if any(cell.row in named for found in candidates for cell in found):
        return None
    taken = candidates[0][0].row
    return f"the job is about {min(named)!r}, and no figure is from that row (one is from {taken!r})"


def _wrong_years(candidates: Sequence[Sequence[Cell]], brief: Brief) -> str | None:
    named = years(brief.instruction)
    in_table = {year for cell in cells(brief.source) for year in cell.years}
    if not named or not named <= in_table:
        return None
    missing = named - {year for found in candidates for cell in found for year in cell.years}
    if len(named) == 1 and missing:
        return f"the job is about {min(named)}, and no figure is from that year"
    if len(named) == 2 and missing and len(candidates) >= 2:
        return f"the job names {' and '.join(sorted(named))}, and no figure is from {min(missing)}"
    return None
