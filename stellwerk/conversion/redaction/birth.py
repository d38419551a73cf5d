"""Rules for dates of birth: dates beside a word that says so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import BIRTH_DATE, Span

_MONTH = (
    r"(?:jan(?:uary|uar)?|jänner|feb(?:ruary|ruar)?|mar(?:ch)?|märz|mrz|apr(?:il)?|ma[yi]|june?i?|juni"
    r"|july?i?|juli"
    r"|aug(?:ust)?|sep(?:t|tember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_DAY = r"(?<!\d)\d{1,2}(?:st|nd|rd|th)?\.?"
_DATE = (
    rf"(?i:(?<!\d)\d{{4}}[./\-]\d{{1,2}}[./\-]\d{{1,2}}(?!\d)"
    rf"|(?<!\d)\d{{1,2}}[./\-][ ]?\d{{1,2}}[./\-][ ]?\d{{2,4}}(?!\d)"
    rf"|{_DAY}[ ]?(?:of )?{_MONTH},?[ ]\d{{4}}(?!\d)|{_DAY}-{_MONTH}-\d{{4}}|\b{_MONTH} \d{{1,2}}(?:st|nd|rd"
    rf"|th)?,? \d{{4}}(?!\d))"
)
_BORN = (
    r"(?i:(?<![^\W_])(?:born|birth[ _\-]?da(?:y|te)|birth|date[ _]of[ _]birth|d\.?o\.?b\b\.?|geboren|geb\."
    r"|geburts\w{1,12}))"
)
_AFTER = re.compile(rf"{_BORN}[^\d\n]{{0,40}}?(?P<date>{_DATE})")
_BEFORE = re.compile(rf"(?P<date>{_DATE})[^\d\n]{{0,20}}?{_BORN}")
_HINT = re.compile(r"(?i)born|birth|d\.?o\.?b|gebor|geb\.|geburt")


def find_birth_date(text: str) -> Iterator[Span]:
    """Dates of birth, where a word close by says what they are."""
    if not _HINT.search(text):
        return
    for pattern in (_AFTER, _BEFORE):
        for match in pattern.finditer(text):
            yield Span(*match.span("date"), BIRTH_DATE, 0.9)
