"""The cells of a page: where a figure stands, and what its row and column are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from stellwerk.workers.quotes import numbers

_YEAR = re.compile(r"(?<![\d,.])(?:19|20)\d\d(?![\d,.]*\d)")
_WORD = re.compile(r"[a-z]{2,}|\d+")
_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by did do does for from has have how in is it its many much of on or other "
        "the their this to total was were what when where which who why with year years ended december june "
        "september march net respective respectively value values amount amounts number company",
    )
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in a table. `start` is its offset in the source; `row` and `column` are labels."""

    value: Decimal
    start: int
    row: str
    column: str

    @property
    def years(self) -> frozenset[str]:
        """Years in the column's label, or else in the row's."""
        return years(self.column) or years(self.row)


def years(text: str) -> frozenset[str]:
    """The calendar years that a text names."""
    return frozenset(_YEAR.findall(text))


def words(text: str) -> frozenset[str]:
    """Words that carry meaning, in lower case and without a plural's s."""
    found = _WORD.findall(text.lower())
    return frozenset(word.rstrip("s") if len(word) > 3 else word for word in found if word not in _STOP)


def cells(source: str) -> Iterator[Cell]:
    """Every figure that stands in a table, a line of cells joined with ' | ', from top to bottom.

    A column is called by all that stands above its first figure that is no year; a row by its first
    cell, or where that is blank by the nearest one above.
    """
    headers: dict[int, str] = {}
    offset, in_table, body, label = 0, False, False, ""
    for line in source.split("\n"):
        is_row = " | " in line or line.startswith("|")
        if is_row and not in_table:
            headers, body, label = {}, False, ""
        in_table = is_row
        if is_row:
            parts = line.split("|")
            figures = [_figure(part) for part in parts]
            body = body or any(
                figure is not None and not _is_year(part)
                for figure, part in zip(figures[1:], parts[1:], strict=True)
            )
            label = parts[0].strip() or label
            position = offset
            for index, (part, figure) in enumerate(zip(parts, figures, strict=True)):
                if not body:
                    headers[index] = f"{headers.get(index, '')} {part.strip()}".strip()
                elif index and figure is not None:
                    start = position + len(part) - len(part.lstrip())
                    yield Cell(figure, start, label, headers.get(index, ""))
                position += len(part) + 1
        offset += len(line) + 1


def _figure(cell: str) -> Decimal | None:
    found = numbers(cell)
    # '(1,234) (2)' and '12 months' begin with their figure; 'Note 5' does not, and is a label.
    if found and not re.search(r"[A-Za-z]{3}", cell[: found[0].start]):
        return found[0].value
    return None


def _is_year(cell: str) -> bool:
    return bool(years(cell)) and len(numbers(cell)) <= 2
