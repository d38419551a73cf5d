"""The redactor: puts placeholders into all texts of an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.keys import kind_under
from stellwerk.conversion.redaction.placeholders import Placeholders
from stellwerk.conversion.redaction.rules import RuleDetector
from stellwerk.conversion.redaction.span import Detector, Span, resolve
from stellwerk.conversion.redaction.walk import rewritten, rewritten_value
from stellwerk.conversion.redaction.writer import Writer, clear

_PASSES = 10  # what a pass finds beside a new placeholder is found in the next; two are the rule
_REMEMBERED = 20_000  # characters of a text whose spans are remembered


@dataclass(frozen=True, slots=True)
class Redacted:
    """An example without what was to be redacted.

    Args:
        example: with placeholders.
        placeholders: the way back; whoever is not to have it is not to be given this.
        found: how many places were redacted, by kind.
    """

    example: Example
    placeholders: Placeholders
    found: Counter[str]


class Redactor:
    """Redacts examples, so that the same value has the same placeholder in all texts of one.

    Redacting what is redacted changes nothing. A value that was found in one place is redacted wherever else
    it stands in the example, the parts of a full name too.

    Args:
        detector: finds what is to be redacted; rules alone if not given.
        cache: how many texts' spans are remembered: prompts repeat much.
    """

    def __init__(self, detector: Detector | None = None, *, cache: int = 2048) -> None:
        self._detector = detector if detector is not None else RuleDetector()
        self._find_again = lru_cache(maxsize=cache)(self._find)

    def redact(self, example: Example, placeholders: Placeholders | None = None) -> Redacted:
        """The example with placeholders.

        Args:
            example: with what it may not keep.
            placeholders: of what was redacted before, whose numbering goes on: hand in one for all examples
                of a person or thread, and `[EMAIL_1]` is the same in all. A new one if not given.
        """
        held = Placeholders() if placeholders is None else placeholders
        counts: Counter[str] = Counter()
        for number in range(_PASSES):
            values = self._values(example, held)
            if number == 0:
                values |= {value: kind for kind, value in held.known() if value not in values}
            if not values:
                break
            example = rewritten(example, Writer(self.spans, values, held, counts).write)
        return Redacted(example, held, counts)

    def redact_text(self, text: str, placeholders: Placeholders | None = None) -> str:
        """A text with placeholders; see `redact`."""
        example = Example(trace_id="", call_site="", prompt=(), answer=text)
        return self.redact(example, placeholders).example.answer or ""

    def restore(self, value: Any, placeholders: Placeholders) -> Any:
        """An example, a text or a value of JSON with the values back in the place of their placeholders.

        Each comes back in the spelling in which it first appeared; a number as text.
        """

        def restored(_: str, text: str) -> str:
            return placeholders.restore(text)

        return rewritten(value, restored) if isinstance(value, Example) else rewritten_value(value, restored)

    def spans(self, text: str, key: str = "") -> Sequence[Span]:
        """What is to be redacted in a text, without overlaps.

        Args:
            text: to look into.
            key: under which it stands in an object of JSON.
        """
        kind = kind_under(key, text)
        found = (self._find_again if len(text) <= _REMEMBERED else self._find)(text)
        return found if kind is None else resolve(clear(text, [Span(0, len(text), kind, 0.9), *found]))

    def _find(self, text: str) -> tuple[Span, ...]:
        return tuple(resolve(clear(text, self._detector.find(text))))

    def _values(self, example: Example, held: Placeholders) -> dict[str, str]:
        """What is found in any text, with its kind; placeholders that are there are not given away."""
        values: dict[str, str] = {}

        def look(key: str, text: str) -> str:
            if "[" in text:
                held.reserve(text)
            for span in self.spans(text, key):
                values.setdefault(text[span.start : span.end], span.kind)
            return text

        rewritten(example, look)
        return values
