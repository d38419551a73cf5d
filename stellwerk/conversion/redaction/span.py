"""Spans: where in a text something stands that is to be redacted, and who finds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

ADDRESS = "ADDRESS"
BIRTH_DATE = "BIRTH_DATE"
CARD = "CARD"
EMAIL = "EMAIL"
IBAN = "IBAN"
ID_NUMBER = "ID_NUMBER"
IP = "IP"
PERSON = "PERSON"
PHONE = "PHONE"
SECRET = "SECRET"  # noqa: S105  # the name of a kind
URL = "URL"

KINDS = (ADDRESS, BIRTH_DATE, CARD, EMAIL, IBAN, ID_NUMBER, IP, PERSON, PHONE, SECRET, URL)
"""What the detectors here find. A detector of one's own may have others, in capitals."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something found, from `start` up to but not including `end`.

    Args:
        start: of its first character.
        end: after its last one.
        kind: what it is: a word in capitals, which its placeholder begins with.
        score: how sure that is, from 0 to 1; it decides which kind an overlap is of.
    """

    start: int
    end: int
    kind: str
    score: float = 1.0


class Detector(Protocol):
    """Finds what is to be redacted. Give the spans in any order; they may overlap."""

    def find(self, text: str) -> Sequence[Span]: ...


class Together:
    """Several detectors as one: whatever any of them finds."""

    def __init__(self, *detectors: Detector) -> None:
        self._detectors = detectors

    def find(self, text: str) -> Sequence[Span]:
        return [span for detector in self._detectors for span in detector.find(text)]


def resolve(spans: Iterable[Span]) -> list[Span]:
    """The spans without overlaps, from left to right.

    Spans that overlap become one that covers them all, so that nothing that anybody found is left over. Its
    kind is that of the surest of them; among equals, of the longest, then the first.
    """
    resolved: list[Span] = []
    best: Span | None = None
    for span in sorted(spans, key=lambda each: (each.start, -each.end, -each.score, each.kind)):
        if span.start >= span.end:
            continue
        if best is None or span.start >= resolved[-1].end:
            resolved.append(span)
            best = span
            continue
        if _rank(span) < _rank(best):
            best = span
        last = resolved[-1]
        resolved[-1] = Span(last.start, max(last.end, span.end), best.kind, best.score)
    return resolved


def _rank(span: Span) -> tuple[float, int, int, str]:
    return (-span.score, span.start - span.end, span.start, span.kind)
