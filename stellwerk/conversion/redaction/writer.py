"""The writer: puts placeholders into one text after another."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from stellwerk.conversion.redaction.placeholders import PLACEHOLDER, Placeholders
from stellwerk.conversion.redaction.span import PERSON, SECRET, Span, resolve

_WORD = re.compile(r"[^\W_]+")
_ALSO_WORDS = frozenset(
    ("April", "August", "Bill", "Jan", "Juli", "June", "Juni", "Mai", "Mark", "May", "Will")
)
_FEW = 30  # values, up to which a text is searched for each of them


class Writer:
    """Puts placeholders into texts: where something was found, and where the same stands again.

    Args:
        spans: what is found in a text that stands under a key.
        values: what is redacted wherever it stands, with its kind.
        held: gives the placeholders.
        counts: where it is counted how many were put in, by kind.
    """

    def __init__(
        self,
        spans: Callable[[str, str], Sequence[Span]],
        values: Mapping[str, str],
        held: Placeholders,
        counts: Counter[str],
    ) -> None:
        self._spans = spans
        self._repeated = dict(_repeated(values))
        self._by_word: defaultdict[str, list[str]] = defaultdict(list)
        if len(self._repeated) > _FEW:
            for value in self._repeated:
                self._by_word[_first_word(value)].append(value)
        self._held = held
        self._counts = counts

    def write(self, key: str, text: str) -> str:
        """The text with placeholders."""
        spans = list(self._spans(text, key))
        again = [span for value, kind in self._looked_for(text) for span in _places(text, value, kind)]
        if again:
            spans = resolve([*spans, *clear(text, again)])
        if not spans:
            return text
        parts: list[str] = []
        end = 0
        for span in spans:
            parts += text[end : span.start], self._held.of(span.kind, text[span.start : span.end])
            self._counts[span.kind] += 1
            end = span.end
        return "".join([*parts, text[end:]])

    def _looked_for(self, text: str) -> Iterable[tuple[str, str]]:
        """The values that may stand in the text: of many, those whose first word does."""
        if not self._by_word:
            return self._repeated.items()
        words = dict.fromkeys(_WORD.findall(text))
        return [(value, self._repeated[value]) for word in words for value in self._by_word.get(word, ())]


def _first_word(value: str) -> str:
    word = _WORD.search(value)
    return word.group() if word else ""


def _repeated(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The values to look for everywhere. A PIN may be any number, and a name a month."""
    for value, kind in values.items():
        if len(value) >= (6 if kind == SECRET else 2) and not (kind == PERSON and value in _ALSO_WORDS):
            yield value, kind
    for value, kind in values.items():
        if kind == PERSON and " " in value:
            for part in value.split(" "):
                known = part in values or part in _ALSO_WORDS
                if len(part) > 2 and part[0].isupper() and part.isalpha() and not known:
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


def clear(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The spans without placeholders that stand in them, and without half of an escape such as `\\n`."""
    taken = [match.span() for match in PLACEHOLDER.finditer(text)] if "[" in text else []
    ends = [last for _, last in taken]
    for span in spans:
        start = span.start
        if text[start - 1 : start] == "\\":
            start = _after_escape(text, start)
        for first, last in islice(taken, bisect_right(ends, start), None):
            if first >= span.end:
                break
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
