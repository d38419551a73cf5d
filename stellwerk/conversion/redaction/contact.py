"""Rules for mail addresses and telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import EMAIL, PHONE, Span

# Quantifiers are possessive or bounded, here and in all rules: a text made to be slow may not be.
_AT = r"(?:@|\s?[\[({](?:at|AT|ät)[\])}]\s?)"
_DOT = r"(?:\.|\s?[\[({](?:dot|DOT|punkt|Punkt)[\])}]\s?)"
_MAIL = re.compile(
    rf"(?<![\w.+%\-])[\w.+%\-]++{_AT}(?:[\w\-]{{1,63}}{_DOT}){{1,8}}[^\W\d_]{{2,24}}(?![\w\-])"
)
_AT_ALL = re.compile(r"@|[\[({](?:at|AT|ät)[\])}]")

_EXTENSION = r"(?:[ ,]{0,2}(?:x|ext\.?|App\.?|Durchwahl|-)[ ]?\d{1,6})?"
_GAP = "[ \u00a0./\\-]"
_INTERNATIONAL = re.compile(
    rf"(?<![\w+.,])(?<!\d )(?:\+[ ]?|00)[1-9]\d{{0,2}}(?:{_GAP}?\(0\))?"
    rf"(?:{_GAP}{{0,3}}\(?\d{{1,12}}\)?){{1,6}}+{_EXTENSION}(?!\w)"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.+/\-])(?<!\d )(?:1[ .\-]?)?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[.\-])\d{3}[ .\-]\d{4}"
    rf"{_EXTENSION}(?![\w\-])|(?<![\w.+/\-])(?<!\d )[2-9]\d\d \d{{3}} \d{{4}}{_EXTENSION}(?!\w| \d)"
)
_NATIONAL = re.compile(
    "(?<![\\w.,+\\-/])(?<!\\d )(?:\\(0[1-9]\\d{1,4}\\)|0[1-9]\\d{1,4})"
    "(?:[ \u00a0]?[/\\-–][ \u00a0]?|[ \u00a0])?\\d{2,9}(?:[ \u00a0\\-]\\d{2,8}){0,4}+(?![\\w]|[.,]\\d)"
)
_INTRODUCED = re.compile(
    r"(?<![^\W_])(?i:tele(?:phone|fon)|phone|tel|mobile|cell|fax|whatsapp|handy|mobil|mobilfunk|mobiltelefon"
    r"|call(?: back)?|text|ring|reach|rückruf|rufnummer|(?:phone|tele|handy|mobil)[ _\-]?(?:fon)?(?:number"
    r"|nummer))"
    r"(?:[\s:.#=\"'_\-]|number|nummer|no\b|nr\b|is\b|ist\b|at\b|on\b|me\b|us\b|unter\b|jetzt\b|now\b){0,8}+"
    "(?P<number>\\+?\\(?\\d[\\d ()./\u00a0\\-]{3,20}\\d)(?![\\w]|[.,]\\d)"
)
_PLAIN = re.compile(r"(?<![\w.,+\-/$€£#])1?[2-9]\d{9}(?![\w\-]|[.,]\d)")
_CALLING = re.compile(
    r"(?i)phone|telefon|\btel\b|mobil|\bcell|\bcall|\breach|contact|kontakt|rückruf|anruf|erreich|handy|\bfax"
    r"|@"
    r"|\b(?:my|his|her|their|meine|seine|ihre) (?:new |neue )?(?:number|nummer)"
)
_BEFORE = 80  # characters in which a word says that a plain number is a telephone's
_DATE = re.compile(r"\d{1,2}([./\-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}-\d{2}-\d{2}")
_US_POSTCODE = re.compile(r"0\d{4}-\d{4}")
_YEARS = re.compile(r"(?:(?:19|20)\d\d[ /\-]*)+")


def find_mail(text: str) -> Iterator[Span]:
    """Mail addresses, and those written `jane (at) example (dot) org`."""
    if not _AT_ALL.search(text):
        return
    for match in _MAIL.finditer(text):
        found = match.group()
        start = match.end() - len(found.lstrip(".-+%"))
        if not found.startswith("git@"):  # the user of an address of a repository, and nobody's
            yield Span(start, match.end(), EMAIL)


def find_phone(text: str) -> Iterator[Span]:
    """Telephone numbers: with a country's code, North American, British, German, and what is called one."""
    for match in _INTERNATIONAL.finditer(text):
        if 8 <= _digits(match.group()) <= 20:
            yield Span(*match.span(), PHONE, 0.9)
    for match in _NORTH_AMERICAN.finditer(text):
        yield Span(*match.span(), PHONE, 0.9)
    for match in _NATIONAL.finditer(text):
        if _is_national(match.group()):
            yield Span(*match.span(), PHONE, 0.8)
    for match in _PLAIN.finditer(text):
        if _CALLING.search(text, max(0, match.start() - _BEFORE), match.start()):
            yield Span(*match.span(), PHONE, 0.7)
    for match in _INTRODUCED.finditer(text):
        number = match.group("number")
        if 6 <= _digits(number) <= 15 and not _DATE.fullmatch(number) and not _YEARS.fullmatch(number):
            yield Span(*match.span("number"), PHONE, 0.7)


def _is_national(number: str) -> bool:
    digits = _digits(number)
    if _DATE.match(number) or _US_POSTCODE.fullmatch(number):
        return False
    if number.isdigit():
        return 10 <= digits <= 12
    return (7 if number.startswith("(") else 9) <= digits <= 13


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))
