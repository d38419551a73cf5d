"""Structure: what can be counted of a subtask, whatever its words are."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from stellwerk.routing_context import RoutingContext

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_OPTION = re.compile(r"(?m)^\s*(?:\(?[A-Za-z0-9]{1,2}[.):]|[-*•])\s")
_QUESTIONS = ("how", "what", "which", "why", "when", "who", "where", "is", "are", "not", "if", "each")
_WORD = re.compile(r"\w+")
_READ = 4_000  # characters of an instruction that are looked at; its whole length counts all the same

TEXT = (
    "characters",
    "words",
    "distinct words",
    "digits",
    "numbers",
    "largest number",
    "percent or money signs",
    "question marks",
    "lines",
    "sentences",
    "options",
    "operators",
    "capitals",
    "letters a word",
    "longest word",
    "commas",
    "brackets",
    "other scripts",
    "quotes",
    "underscores",
    "first line",
    "later lines",
    "length of the last sentence",
    *(f"asks {word}" for word in _QUESTIONS),
)
AROUND = (
    "prompt",
    "fields",
    "choices",
    "depth",
    "tools",
    "longest answer",
    "source",
    "inputs",
    "position",
    "place in plan",
    "subtasks",
)
NAMES = (*TEXT, *AROUND)


def structure(context: RoutingContext) -> NDArray[np.float32]:
    """One figure for each of `NAMES`; counts and lengths as logarithms."""
    around = (
        math.log1p(context["prompt"]),
        math.log1p(context["fields"]),
        math.log1p(context["choices"]),
        context["depth"],
        math.log1p(len(context["tools"])),
        math.log1p(context["max_tokens"]),
        math.log1p(context["source"]),
        context["inputs"],
        math.log1p(context["position"]),
        context["position"] / max(context["size"], 1),
        math.log1p(context["size"]),
    )
    return np.asarray((*_text(context["instruction"]), *around), np.float32)


def _text(text: str) -> tuple[float, ...]:
    length = len(text)
    text = text[:_READ]
    words = _WORD.findall(text.lower())
    distinct = set(words)
    numbers = _NUMBER.findall(text)
    largest = max((len(number.partition(".")[0]) for number in numbers), default=0)
    first, _, rest = text.strip().partition("\n")
    later = rest.split("\n") if rest else []
    ends = [match.end() for match in _SENTENCE.finditer(text.rstrip())]
    last = len(text) - ends[-2] if len(ends) > 1 else len(text)
    count = text.count
    return (
        math.log1p(length),
        math.log1p(len(words)),
        len(distinct) / max(len(words), 1),
        math.log1p(sum(map(len, numbers))),
        math.log1p(len(numbers)),
        largest,
        math.log1p(count("%") + count("$") + count("€")),
        count("?"),
        math.log1p(count("\n")),
        math.log1p(len(ends)),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(sum(map(count, "+-*/=^<>"))),
        sum(map(str.isupper, text)) / max(len(text), 1),
        sum(map(len, words)) / max(len(words), 1),
        max(map(len, words), default=0),
        math.log1p(count(",")),
        math.log1p(sum(map(count, "()[]{}"))),
        0.0 if text.isascii() else math.log1p(sum(ord(sign) > 127 for sign in text)),
        math.log1p(count('"') + count("'")),
        math.log1p(count("_")),
        math.log1p(len(first)),
        math.log1p(sum(map(len, later)) / max(len(later), 1)),
        math.log1p(max(last, 0)),
        *(float(word in distinct) for word in _QUESTIONS),
    )
