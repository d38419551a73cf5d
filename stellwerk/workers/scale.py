"""The scale that a page declares for its figures, as annual reports declare it.

The text is lines; a line with ' | ' between its cells is a row of a table, anything else is prose.
For one figure the first rule that applies decides:

| where                                | what it says                                      | scale    |
|--------------------------------------|---------------------------------------------------|----------|
| right after the figure               | %, percent, million, bn, m, ...; a cell '%'       | that one |
| prose                                | nothing after the figure                          | ''       |
| header of the column, label, section | '%', 'Change %', 'percent', 'as a percentage of'  | percent  |
|                                      | 'number of', 'employees', 'per share', '(years)'  | ''       |
|                                      | '$m', '(in thousands)', ...                       | that one |
| the column's first figure, no currency| '%' (the sign is often left out further down)   | percent  |
| other header rows and label column   | '(in thousands)', '£m', '$’000', ...              | that one |
| caption before the table, or after   | the same in brackets, in a short line, or as      | that one |
|                                      | 'amounts in', 'expressed in', ...                 |          |

A figure is never a year that stands alone. Shares keep their plain count where the declaration
excepts them ('in thousands, except share and per share data').
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

Scale: TypeAlias = Literal["", "thousand", "million", "billion", "percent"]

_CURRENCY = (
    r"(?:(?:\b(?:US|U\.S\.|AU?|CA?|HK|NZ|S|NT|R))?\s?\$|[€£¥₹]|\bRs\.?|\b(?:U\.?S\.?\s)?dollars?\b|\beuros?\b"
    r"|\b(?:RMB|CNY|USD|EUR|GBP|CHF|SEK|NOK|DKK|INR|JPY|AUD|CAD|HKD|SGD)\b)"
)
_WORD = r"(?:thousand|million|billion)"
_DECLARATION = re.compile(
    rf"""
      \bin\s+ (?:{_CURRENCY}\s*)? (?P<plural>{_WORD}s) \b       # in thousands, in US$ millions
    | \bin\s+ {_CURRENCY}\s* (?P<money>{_WORD}) \b              # in € million
    | (?P<of>{_WORD}s) \s+of\s+ (?:\w+\s+)?? {_CURRENCY}        # millions of euros
    | \( (?P<alone>{_WORD}s) \b                                 # (millions, except ...)
    | {_CURRENCY}\s*['’‘]? (?P<unit>{_WORD}s?|mm|mn|bn|m|b|k) \b  # RMB million, £m, € bn
    | (?: {_CURRENCY}\s*['’‘`]? | \bin\s+['’‘`]? | \(['’‘`]? | ['’‘`] )
      (?P<zeros>000) (?:['’]?s)? (?![\d,.]*\d)                  # $’000, in 000s, (000s)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SUFFIX = re.compile(
    rf"""
    [\d.,]*\d \s*\)? \s*
    (?: (?:,\s | ,?\s*(?:and|to|or)\s | [-–—]) \s* (?:and\s+)? {_CURRENCY}?\s* [\d.,]*\d \s* (?=\S) ){{0,5}}?
    (?: (?P<percent>%|per\s?cent\b|percentage\s+points?\b) | [\s-]? (?P<unit>{_WORD}s?|mm|mn|bn|m|b|k)\b )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LETTERS: dict[str, Scale] = {
    "0": "thousand",
    "k": "thousand",
    "t": "thousand",
    "m": "million",
    "b": "billion",
}

_PERCENT = re.compile(r"(?<![\d—–-])(?<!\d\s)%|\bper\s?cent\b|\bpercentages?\b", re.IGNORECASE)
_PLAIN = re.compile(
    r"\bper\b(?!\s?cent)|\bnumber(?! of (?:\w+ )?shares)\b|\bhead\s?count\b|\bemployees\b(?=[^\w]*$)"
    r"|(?:\bin\s|\()(?:years|months|days|hours)\b|\bratio\b|\btimes\)",
    re.IGNORECASE,
)
_EXCEPTION = re.compile(r"\b(?:except|unless|other than)\b[^)]*", re.IGNORECASE)
_SHARES_EXCEPTED = re.compile(r"[^)]{0,40}?\bexcept\b[^)]*(?<!per )\bshares?\b(?! prices?\b)", re.IGNORECASE)
_SHARES = re.compile(r"\bshares\b", re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"\b(?:amounts|figures|dollars|values|expressed|stated|presented|reported|rounded)\b[^.]{0,40}$", re.I
)
_SHORT_LINE = 120  # characters: longer lines are running text, where 'in millions' may mean anything

_FIGURE = re.compile(r"[-−–($€£¥\s]*(?:[A-Z]{2,3}\s?\$?\s?)?\d[\d,.]*+[)%\s]*+(?:\(\w\))?|[-–—]+\s*%?")
_YEAR = re.compile(r"\s*(?:19|20)\d\d\s*(?:\(\w\))?")


class _Declaration(NamedTuple):
    scale: Scale
    shares: Literal["included", "excepted", "only"]


def declared_scale(source: str, at: int | None = None) -> Scale:
    """Return the scale of the figures of a page, or of one of them.

    Args:
        source: The page as lines, table rows as cells joined with ' | '.
        at: Offset of a figure, or of the cell or row that holds it. Without it, the first scale that a
            table declares counts, or else that of the first caption.

    Returns:
        'thousand', 'million', 'billion', 'percent', or '' where no scale is declared.
    """
    lines = source.split("\n")
    if at is None:
        tables, prose = [x for x in lines if _is_row(x)], [x for x in lines if not _is_row(x)]
        declared = chain(*map(_declarations, tables), *map(_caption, prose))
        return next((found.scale for found in declared if found.shares != "only"), "")
    if not 0 <= at <= len(source):
        raise IndexError(f"offset {at} is outside the source of {len(source)} characters")
    row = source.count("\n", 0, at)
    column = at - (source.rfind("\n", 0, at) + 1)
    if not _is_row(lines[row]):
        return _suffix(lines[row], column) or ""
    return _table_scale(lines, row, column)


def _is_row(line: str) -> bool:
    return " | " in line or line.startswith("|")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def _suffix(text: str, start: int) -> Scale | None:
    while 0 < start < len(text) and text[start] in "0123456789.," and text[start - 1] in "0123456789.,":
        start -= 1
    digit = re.compile(r"\d").search(text, start)
    match = digit and _SUFFIX.match(text, digit.start())
    if not match or (_YEAR.match(match[0]) and not match["percent"] and " " in match[0].strip()):
        return None
    return "percent" if match["percent"] else _LETTERS[match["unit"][0].lower()]


def _declarations(text: str) -> Iterator[_Declaration]:
    for match in _DECLARATION.finditer(text):
        shares: Literal["included", "excepted", "only"] = "included"
        if _SHARES.search(text[max(0, match.start() - 8) : match.start()]):
            shares = "only"
        elif _SHARES_EXCEPTED.match(text, match.end()):
            shares = "excepted"
        yield _Declaration(_LETTERS[match[match.lastgroup or 0][0].lower()], shares)


def _caption(line: str) -> Iterator[_Declaration]:
    match = _DECLARATION.search(line)
    if match:
        before = line[: match.start()]
        bracketed = match[0].startswith("(") or before.rfind("(") > before.rfind(")")
        if bracketed or len(line) <= _SHORT_LINE or _ANNOUNCED.search(before):
            yield from _declarations(line)


def _own_unit(text: str) -> Scale | None:
    text = _EXCEPTION.sub("", text)
    if _PERCENT.search(text):
        return "percent"
    if _PLAIN.search(text):
        return ""
    return next((declared.scale for declared in _declarations(text)), None)


def _is_header(cells: list[str]) -> bool:
    return not any(_FIGURE.fullmatch(cell) and not _YEAR.fullmatch(cell) for cell in cells[1:])


def _table_scale(lines: list[str], row: int, offset: int) -> Scale:
    first = last = row
    while first and _is_row(lines[first - 1]):
        first -= 1
    while last + 1 < len(lines) and _is_row(lines[last + 1]):
        last += 1
    cells = _cells(lines[row])
    at_cell = lines[row].count("|", 0, offset)
    column = next((i for i in range(at_cell, len(cells)) if _FIGURE.fullmatch(cells[i])), at_cell)
    shift = offset - (lines[row].rfind("|", 0, offset) + 1) if column == at_cell else 0
    beside = cells[column + 1] if column + 1 < len(cells) else ""
    own = _suffix(cells[column], max(0, shift - 1))
    if own is not None or re.fullmatch(r"\)?%\)?", beside):
        return own or "percent"

    label = next((cell for cell in cells[:column] if cell), "")
    table = [_cells(line) for line in lines[first : last + 1]]
    headers = [x for x in reversed(table[: row - first]) if _is_header(x)]
    section = next((x[0] for x in headers if x[0] and not any(x[1:])), "")
    own_headers = [x[column] for x in headers if 0 < column < len(x) and x[column]]
    for text in (*own_headers, label, section):
        unit = _own_unit(text)
        if unit is not None:
            return unit
    figures = [x[column] for x in table if column < len(x) and _FIGURE.fullmatch(x[column])]
    figures = [x for x in figures if not _YEAR.fullmatch(x)]
    if figures and figures[0].endswith("%") and not re.search(r"[$€£¥]", "".join(figures)):
        return "percent"

    # A header of another column speaks for this one where it spans it: this one's cell is empty there.
    spanning = [" ".join(x) if column >= len(x) or not x[column] else x[0] for x in headers]
    below = [x[0] for x in table[row - first + 1 :] if _is_header(x)]
    captions = chain(reversed(lines[:first]), lines[last + 1 :])
    prose = (line for line in captions if not _is_row(line))
    declared = chain.from_iterable(chain(map(_declarations, spanning + below), map(_caption, prose)))
    if not _SHARES.search(label):
        return next((x.scale for x in declared if x.shares != "only"), "")
    found = list(declared)
    found = [x for x in found if x.shares == "only"] or found[:1]
    return found[0].scale if found and found[0].shares != "excepted" else ""
