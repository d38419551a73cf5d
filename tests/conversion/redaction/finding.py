"""What a detector or a rule finds in a text, as a person would tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.span import Span


def by(rule: Callable[[str], Iterable[Span]], text: str) -> list[str]:
    """The words that one rule finds."""
    return [text[span.start : span.end] for span in rule(text)]


def found(text: str, redactor: Redactor | None = None) -> list[tuple[str, str]]:
    """Kind and words of all that is redacted in a text."""
    spans = (redactor or Redactor()).spans(text)
    return [(span.kind, text[span.start : span.end]) for span in spans]
