"""How small models fail: they turn in circles, give the schema back, or refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_PERIOD = 400  # characters
LEAST_TURNS = 4
LEAST_CIRCLE = 60  # characters that the turns fill together
_TAIL = 4 * LONGEST_PERIOD
_CANNOT = r"(?:can(?:['’]t|not| not)|(?:am|['’]m) (?:not able|unable) to|won['’]t|will not)"
_REFUSAL = re.compile(
    rf"^\W*(?:(?:I['’]m|I am|we['’]re) (?:very |so |really )?sorry,? (?:but )?(?:I|we) ?{_CANNOT}"
    rf"|(?:sorry|apologies|unfortunately),? (?:but )?I ?{_CANNOT}"
    rf"|I ?{_CANNOT} (?:help|assist|comply|provide|fulfil|answer|do that|complete|discuss|create|generate)"
    r"|as an AI(?: language model| assistant)?,? I)",
    re.IGNORECASE,
)
LONGEST_REFUSAL = 600  # characters; what goes on for longer is an answer that begins with an excuse


def circle(text: str) -> str | None:
    """What a text repeats at its end, over and over; None if it does not.

    The end has to be `LEAST_TURNS` copies of the same run of up to `LONGEST_PERIOD` characters, the last one
    possibly cut off, and at least `LEAST_CIRCLE` characters long.
    """
    tail = text.rstrip()[-_TAIL:]
    for period in range(1, min(LONGEST_PERIOD, len(tail) // LEAST_TURNS) + 1):
        length = period
        while length < len(tail) and tail[-length - 1] == tail[-length - 1 + period]:
            length += 1
        if length >= max(LEAST_TURNS * period, LEAST_CIRCLE):
            return tail[-period:]
    return None


def is_refusal(text: str) -> bool:
    """Whether a text is the model's refusal, in English: short, in the first person, from its first word."""
    return len(text) <= LONGEST_REFUSAL and _REFUSAL.match(text) is not None


def refuses(value: object, source: str) -> bool:
    """Whether all that an answer says is a refusal, and not the source's own words."""
    texts = list(_texts(value))
    return bool(texts) and all(is_refusal(text) and text.strip() not in source for text in texts)


def echoes(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether an answer is its schema over again, or a description in place of each value.

    Args:
        value: the answer.
        schema: of the answer, as pydantic makes it.
    """
    if not isinstance(value, Mapping):
        return False
    own: Mapping[str, Any] = schema.get("properties") or {}
    inner = value.get("properties")
    if (
        isinstance(inner, Mapping)
        and "properties" not in own
        and (value.get("type") == "object" or inner.keys() & own)
    ):
        return True
    parts = [(part, own[name]) for name, part in value.items() if name in own]
    texts = [(part, shape) for part, shape in parts if isinstance(part, str | Mapping)]
    return bool(texts) and all(_is_shape(part, shape) for part, shape in texts)


def _is_shape(part: object, shape: Mapping[str, Any]) -> bool:
    if isinstance(part, str):
        return bool(part.strip()) and part == shape.get("description")
    # What a field is, as an object of schema keywords, where the field is no object.
    return (
        isinstance(part, Mapping)
        and shape.get("type") not in ("object", None)
        and part.get("type") == shape.get("type")
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
