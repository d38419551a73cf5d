"""The redactor: puts placeholders into all texts of an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.keys import kind_under
from stellwerk.conversion.redaction.placeholders import PLACEHOLDER, Placeholders
from stellwerk.conversion.redaction.rules import RuleDetector
from stellwerk.conversion.redaction.span import PERSON, SECRET, Detector, Span, resolve
from stellwerk.conversion.redaction.walk import rewritten, rewritten_value

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
            example = rewritten(example, _Writer(self, values, held, counts).write)
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
        return found if kind is None else resolve(_clear(text, [Span(0, len(text), kind, 0.9), *found]))

    def _find(self, text: str) -> tuple[Span, ...]:
        return tuple(resolve(_clear(text, self._detector.find(text))))

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


class _Writer:
    """Puts placeholders into texts: where something was found, and where the same stands again."""

    def __init__(
        self, redactor: Redactor, values: dict[str, str], held: Placeholders, counts: Counter[str]
    ) -> None:
        self._redactor = redactor
        self._repeated = dict(_repeated(values))
        self._held = held
        self._counts = counts

    def write(self, key: str, text: str) -> str:
        spans = list(self._redactor.spans(text, key))
        again = [span for value, kind in self._repeated.items() for span in _places(text, value, kind)]
        if again:
            spans = resolve([*spans, *_clear(text, again)])
        if not spans:
            return text
        parts: list[str] = []
        end = 0
        for span in spans:
            parts += text[end : span.start], self._held.of(span.kind, text[span.start : span.end])
            self._counts[span.kind] += 1
            end = span.end
        return "".join([*parts, text[end:]])


def _repeated(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The values to look for everywhere. Short secrets, such as a PIN, may be any number."""
    for value, kind in values.items():
        if len(value) >= (6 if kind == SECRET else 2):
            yield value, kind
    for value, kind in values.items():
        if kind == PERSON and " " in value:
            for part in value.split(" "):
                if len(part) > 2 and part[0].isupper() and part.isalpha() and part not in values:
                    yield part, kind


def _places(text: str, value: str, kind: str) -> Iterator[Span]:
    place = text.find(value)
    while place >= 0:
        end = place + len(value)
        # Not inside a longer word or number.
        if not (text[place].isalnum() and text[place - 1 : place].isalnum()) and not (
            text[end - 1].isalnum() and text[end : end + 1].isalnum()
        ):
            yield Span(place, end, kind, 0.5)
        place = text.find(value, end)


def _clear(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The spans without placeholders that stand in them, and without half of an escape such as `\\n`."""
    taken = [match.span() for match in PLACEHOLDER.finditer(text)] if "[" in text else []
    for span in spans:
        start = span.start
        if text[start - 1 : start] == "\\":
            start = _after_escape(text, start)
        for first, last in taken:
            if last <= start or first >= span.end:
                continue
            if _tells(text[start:first]):
                yield Span(start, first, span.kind, span.score)
            start = last
        if _tells(text[start : span.end]):
            yield Span(start, span.end, span.kind, span.score)


def _after_escape(text: str, start: int) -> int:
    before = text[max(0, start - 8) : start]
    if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
        return start
    return start + {"u": 5, "n": 1, "r": 1, "t": 1, "b": 1, "f": 1, '"': 1, "/": 1}.get(text[start], 0)


def _tells(text: str) -> bool:
    return any(map(str.isalnum, text))
