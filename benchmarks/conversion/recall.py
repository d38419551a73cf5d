"""How much of what identifies the people of made-up records is found, and what is found beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.conversion.people import Record, Slot
from benchmarks.statistics import share_interval
from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.span import PERSON


@dataclass(frozen=True)
class Recall:
    """Of so many values of a kind, how many are covered to the last letter and digit.

    `low` and `high` are exact 95 % bounds, each value by itself.
    """

    arm: str
    language: str
    kind: str
    found: int
    count: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Beside:
    """What was redacted in the records that belongs to no value."""

    arm: str
    records: int
    touched: int
    examples: list[str]


def recall(arm: str, records: Sequence[Record], redactor: Redactor) -> tuple[list[Recall], Beside]:
    """Recall by language and kind; names that are introduced and names that are not, apart."""
    found: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    beside: list[str] = []
    touched = 0
    for record in records:
        spans = redactor.spans(record.text)
        covered = {place for span in spans for place in range(span.start, span.end)}
        for slot in record.slots:
            key = (record.language, name_of(slot))
            count[key] += 1
            found[key] += all(place in covered for place in _told(record.text, slot.start, slot.end))
        within = {place for slot in record.slots for place in range(slot.start, slot.end)}
        more = [
            record.text[span.start : span.end]
            for span in spans
            if not within.issuperset(_told(record.text, span.start, span.end))
        ]
        touched += bool(more)
        beside += more
    rows = []
    for (language, kind), of in sorted(count.items()):
        interval = share_interval(found[language, kind], of)
        rows.append(
            Recall(
                arm, language, kind, found[language, kind], of, interval.estimate, interval.low, interval.high
            )
        )
    return rows, Beside(arm, len(records), touched, beside[:20])


def name_of(slot: Slot) -> str:
    """What the value is called in the table."""
    return f"{PERSON}, {slot.name}" if slot.kind == PERSON else slot.kind


def _told(text: str, start: int, end: int) -> list[int]:
    return [place for place in range(start, end) if text[place].isalnum()]
