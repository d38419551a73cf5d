"""The tables of a page: what their rows and columns are called, and what stands where they cross.

A table is a run of lines of cells joined with `|`. Its head is what stands above its first figure that
is no year; a line within it that has no label and no figure begins another head, since pages often
print two tables as one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from stellwerk.workers.quotes import numbers

_YEAR = re.compile(r"(?<![\d,.])(?:19|20)\d\d(?![\d,.]*\d)")
_FISCAL = re.compile(r"\bFY?\s?['’]?(\d\d)\b")
_WORD = re.compile(r"[a-z]{2,}|\d+")
_DASH = re.compile(r"[$€£¥\s]*+[-–—]++\s*+%?")
_RULE = re.compile(r"[\s|:-]+")
_FIGURE = re.compile(
    r"[-−–($€£¥\s]*+(?:[A-Z]{2,3}\s?\$?\s?)?\d[\d,.]*+[)%\s]*+(?:bps|x|pts?|points?)?\s?(?:\(\w\))?"
    r"|[$€£¥\s]*+[-–—]++\s*+%?"
)
_LONGEST = 60  # characters of a name; a model writes all of it, at some tens of tokens a second
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
    """A cell of a table. `start` is the offset of its text in the source.

    `value` is its figure, nil for a dash, and None for words. `row` and `column` are labels as printed.
    """

    text: str
    value: Decimal | None
    start: int
    row: str
    column: str

    @property
    def figure(self) -> Decimal:
        """The value.

        Raises:
            ValueError: if the cell has none.
        """
        if self.value is None:
            raise ValueError(f"{self.text[:60]!r} in row {self.row[:60]!r} is no figure")
        return self.value

    @property
    def years(self) -> frozenset[str]:
        """Years in the column's label, or else in the row's."""
        return years(self.column) or years(self.row)


@dataclass(slots=True)
class Grid:
    """All cells of a page by the names of their row and column; names are unique within a page."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, from top to bottom."""
        return tuple(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, from left to right."""
        return tuple(dict.fromkeys(column for _, column in self.cells))


def years(text: str) -> frozenset[str]:
    """The calendar years that a text names; FY19 is 2019."""
    return frozenset(_YEAR.findall(text)) | {f"20{digits}" for digits in _FISCAL.findall(text)}


def words(text: str) -> frozenset[str]:
    """Words that carry meaning, in lower case and without a plural's s."""
    found = _WORD.findall(text.lower())
    return frozenset(word.rstrip("s") if len(word) > 3 else word for word in found if word not in _STOP)


def cells(source: str) -> Iterator[Cell]:
    """Every figure that stands in a table, from top to bottom."""
    for block in _parsed(source):
        for line in block.body:
            for cell in line.cells.values():
                if cell.value is not None and not _DASH.fullmatch(cell.text):
                    yield cell


@lru_cache(maxsize=4)
def _parsed(source: str) -> tuple[_Block, ...]:
    # The checks of one answer ask several times for the cells of the same documents.
    return tuple(_blocks(source))


@lru_cache(maxsize=4)
def grid(source: str) -> Grid:
    """The page's tables as one grid.

    A row is called by its label, and where that is not unique by its section as well; a row without a
    label is the total of its section. A column is called by its year where that tells it apart.
    """
    found = Grid()
    latest: dict[str, int] = {}
    for block in _parsed(source):
        columns = _column_names(block)
        count = Counter(line.label for line in block.body)
        names = [
            line.label if line.label and count[line.label] == 1 else line.full_name for line in block.body
        ]
        for name, line in zip(_distinct(names), block.body, strict=True):
            # The same row may go on in another table, under other columns.
            chosen = name
            if any((name, columns[index]) in found.cells for index in line.cells):
                latest[name] = latest.get(name, 1) + 1
                chosen = f"{name} ({latest[name]})"
            for index, cell in line.cells.items():
                found.cells[chosen, columns[index]] = cell
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    section: str
    cells: Mapping[int, Cell]

    @property
    def full_name(self) -> str:
        label = self.label or "total"
        room = max(12, _LONGEST - len(label) - 2)  # the label tells more than the section
        section = self.section if len(self.section) <= room else self.section[:room].rsplit(" ", 1)[0]
        return ": ".join(part for part in (section.strip(" :"), label) if part)


@dataclass(slots=True)
class _Block:
    head: list[list[str]] = field(default_factory=list)
    body: list[_Line] = field(default_factory=list)


def _tables(source: str) -> Iterator[list[tuple[int, list[str]]]]:
    """Each table as its lines: offset and cells; without blank lines and the rule of markdown."""
    lines: list[tuple[int, list[str]]] = []
    offset = 0
    for line in source.split("\n"):
        start, offset = offset, offset + len(line) + 1
        line = line.removesuffix("\r")
        if " | " in line or line.startswith("|") or line.endswith(" |"):
            if line.startswith("|"):  # markdown: the first bar opens the first cell, and the last closes one
                line, start = line[1:].rstrip().removesuffix("|"), start + 1
            if not _RULE.fullmatch(line):
                lines.append((start, line.split("|")))
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def _blocks(source: str) -> Iterator[_Block]:
    for lines in _tables(source):
        block, section, above = _Block(), "", ""
        heads: dict[int, str] = {}
        for number, (start, parts) in enumerate(lines):
            texts = [part.strip() for part in parts]
            label, filled = texts[0], [text for text in texts[1:] if text]
            if not block.body and not _has_figure(filled):
                block.head.append(texts)
                section = label if label and not filled else section
            elif not filled:
                section = label
            elif not label and not _has_figure(filled):
                following = [part.strip() for part in lines[number + 1][1]] if number + 1 < len(lines) else []
                if len(filled) == 1 and _has_figure(following):
                    section = filled[0]
                    continue
                yield block
                block, above = _Block(head=[texts]), ""
            else:
                if not block.body:
                    heads = _heads(block.head)
                above = label or above
                block.body.append(_Line(label, section, _cells(start, parts, above, heads)))
        if block.body:
            yield block


def _cells(start: int, parts: Sequence[str], row: str, column: Mapping[int, str]) -> dict[int, Cell]:
    found = {}
    for index, part in enumerate(parts):
        text = part.strip()
        if index and text:
            value = Decimal() if _DASH.fullmatch(text) else _figure(text)
            at = start + len(part) - len(part.lstrip())
            found[index] = Cell(text, value, at, row, column.get(index, ""))
        start += len(part) + 1
    return found


def _heads(head: Sequence[Sequence[str]]) -> dict[int, str]:
    labels: dict[int, str] = {}
    for texts in head:
        for index, text in enumerate(texts):
            labels[index] = f"{labels.get(index, '')} {text}".strip()
    return labels


def _column_names(block: _Block) -> dict[int, str]:
    """A name for each column: its year where that is enough, else its head with what spans it."""
    indexes = sorted({index for line in block.body for index in line.cells})
    plain = _heads(block.head)
    spanned = _heads([_spread(texts, indexes) for texts in block.head])
    year = {index: _YEAR.findall(spanned.get(index, "")) for index in indexes}
    count = Counter(year[index][0] for index in indexes if len(year[index]) == 1)
    heads = [plain.get(index, "") for index in indexes]
    names = []
    for index in indexes:
        if len(year[index]) == 1 and count[year[index][0]] == 1:
            names.append(year[index][0])
        elif plain.get(index) and heads.count(plain[index]) == 1 and (not year[index] or not count):
            names.append(plain[index])
        else:
            names.append(spanned.get(index) or f"column {index}")
    return dict(zip(indexes, _distinct(names), strict=True))


def _spread(texts: Sequence[str], indexes: Sequence[int]) -> list[str]:
    """A line of the head with what spans several columns repeated over each of them.

    It is printed over the first of them. Only where the columns fall into equal groups is it clear how
    far it reaches.
    """
    filled = list(texts)
    starts = [place for place, index in enumerate(indexes) if index < len(texts) and texts[index]]
    if not starts or starts[0] or len(indexes) % len(starts):
        return filled
    width = len(indexes) // len(starts)
    if starts != list(range(0, len(indexes), width)):
        return filled
    for place, index in enumerate(indexes):
        if index < len(filled):
            filled[index] = texts[indexes[place - place % width]]
    return filled


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, shortened where they stay distinct, and numbered where they are not."""
    names = [" ".join(name.replace(":: ", ": ").removesuffix(":").split()) for name in names]
    short = [name if len(name) <= _LONGEST else name[:_LONGEST].rsplit(" ", 1)[0] for name in names]
    count = Counter(short)
    chosen = [
        brief if count[brief] == 1 else name[: 3 * _LONGEST] for brief, name in zip(short, names, strict=True)
    ]
    taken: Counter[str] = Counter()
    distinct = []
    for name in chosen:
        taken[name] += 1
        distinct.append(f"{name} ({taken[name]})" if taken[name] > 1 else name)
    return distinct


def _has_figure(texts: Sequence[str]) -> bool:
    return any(_FIGURE.fullmatch(text) and not _is_year(text) for text in texts)


def _figure(cell: str) -> Decimal | None:
    found = numbers(cell)
    # '(1,234) (2)' and '12 months' begin with their figure; 'Note 5' does not, and is a label. Of '2 - 4'
    # neither is the figure.
    if not found or re.search(r"[A-Za-z]{3}", cell[: found[0].start]):
        return None
    footnotes = [number for number in found[1:] if number.bracketed and abs(number.value) < 20]
    return found[0].value if len(footnotes) == len(found) - 1 else None


def _is_year(cell: str) -> bool:
    return bool(years(cell)) and len(numbers(cell)) <= 2
