"""Questions of which year: the model names the row, and this process compares its figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from stellwerk.worker import Brief
from stellwerk.workers.quotes import numbers
from stellwerk.workers.scale import declared_scale
from stellwerk.workers.tables import Cell, years

_WHICH = re.compile(r"\b(?:which|what)\s+(?:\w+\s+)?(?:years?|periods?|quarters?|months?)\b", re.I)
_BOUND = re.compile(
    r"(?P<less>less\s+than|below|under|lower\s+than|smaller\s+than)"
    r"|(?P<more>more\s+than|above|over|exceed(?:s|ed)?|greater\s+than|higher\s+than|larger\s+than)",
    re.I,
)
_MOST = re.compile(
    r"\b(?:larger|largest|higher|highest|greater|greatest|most|more|biggest|bigger|maximum)\b", re.I
)
_LEAST = re.compile(r"\b(?:smaller|smallest|lower|lowest|least|less|minimum|fewer|fewest)\b", re.I)
_UNITS = {"thousand": Decimal(1_000), "million": Decimal(1_000_000), "billion": Decimal(1_000_000_000)}
_UNIT = re.compile(r"\s*(thousand|million|billion)s?\b", re.I)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which columns a job asks for: that of the largest or smallest figure, or those beyond a bound."""

    kind: Literal["largest", "smallest", "above", "below"]
    bound: Decimal = Decimal()
    unit: str = ""
    year: str = ""  # whose figure is the bound, where the job says 'higher than in 2018'

    def apply(self, cells: Sequence[Cell], brief: Brief) -> list[Cell]:
        """The cells that are asked for.

        Raises:
            ValueError: if a cell has no figure, or none is beyond the bound.
        """
        figures = [(cell.figure, cell) for cell in cells]
        if all(value <= 0 for value, _ in figures):  # costs in brackets: the larger cost is what is asked
            figures = [(-value, cell) for value, cell in figures]
        if self.year:
            own = [value for value, cell in figures if self.year in cell.years]
            if not own:
                raise ValueError(f"no figure of that row is of {self.year}")
            above = self.kind == "above"
            return [cell for value, cell in figures if (value > own[0] if above else value < own[0])]
        if self.kind in ("largest", "smallest"):
            chosen = (max if self.kind == "largest" else min)(value for value, _ in figures)
            return [cell for value, cell in figures if value == chosen]
        found = []
        for value, cell in figures:
            scale = _UNITS.get(declared_scale(brief.source, cell.start), Decimal(1))
            bound = self.bound * _UNITS[self.unit] / scale if self.unit else self.bound
            if value > bound if self.kind == "above" else value < bound:
                found.append(cell)
        if not found:
            raise ValueError(f"no figure of that row is {self.kind} {self.bound}")
        return found


def comparison_of(instruction: str) -> Comparison | None:
    """The comparison that a job's words ask for, or None."""
    if not _WHICH.search(instruction):
        return None
    for match in _BOUND.finditer(instruction):
        after = instruction[match.end() : match.end() + 40]
        for number in numbers(after)[:1]:
            unit = _UNIT.match(after, number.end)
            kind: Literal["above", "below"] = "below" if match["less"] else "above"
            if not unit and years(after[number.start : number.end]):
                return Comparison(kind, year=after[number.start : number.end].strip())
            return Comparison(kind, number.value, unit[1].lower() if unit else "")
    if _MOST.search(instruction):
        return Comparison("largest")
    if _LEAST.search(instruction):
        return Comparison("smallest")
    return None
