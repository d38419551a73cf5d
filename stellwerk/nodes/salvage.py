"""The one JSON value in an answer with text or a fence around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_FENCED = re.compile(r"```[a-zA-Z0-9]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_DECODER = json.JSONDecoder()
MOST_STARTS = 200  # braces that are tried; a text with more of them is no answer with a few words around it


def salvaged(text: str) -> Any:
    """The value, if the text holds just one JSON object or list that is not part of another.

    A text with two answers stays refused: which one was meant, nobody knows. Nothing is mended: a value that
    is not JSON as it stands is none.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if len(fenced := _FENCED.findall(text)) == 1:
        return json.loads(fenced[0])
    found = list(_values(text))
    if len(found) != 1:
        raise ValueError(f"{len(found) or 'no'} JSON values in the text")
    return found[0]


def _values(text: str) -> Iterator[Any]:
    place, tried = 0, 0
    while (match := re.compile(r"[{\[]").search(text, place)) and tried < MOST_STARTS:
        tried += 1
        try:
            value, place = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place = match.end()
            continue
        if value:  # a bare [] or {} in prose is no answer
            yield value
