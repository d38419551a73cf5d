"""Where there is text in an example, and putting other text in its place, the structure left as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stellwerk.conversion.example import Example, Message
from stellwerk.conversion.redaction.keys import kind_under
from stellwerk.conversion.redaction.placeholders import PLACEHOLDER

Rewrite = Callable[[str, str], str]
"""Gets the key under which a text stands (empty in prose) and the text; returns what is to stand there."""

_LABELS = frozenset({"role", "type", "id", "tool_call_id", "index"})
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?\d++(?:\.\d++)?(?:[eE][+\-]?\d++)?|\s++|.', re.DOTALL)
_LONG_NUMBER = 7  # digits; shorter ones are data, and longer ones may be a card or a telephone


def rewritten(example: Example, rewrite: Rewrite) -> Example:
    """The example with each of its texts rewritten, in the order in which a reader meets them."""
    return replace(
        example,
        prompt=[_message(message, rewrite) for message in example.prompt],
        answer=None if example.answer is None else rewritten_text(example.answer, rewrite),
        tool_calls=[_call(call, rewrite) for call in example.tool_calls],
        value=rewritten_value(example.value, rewrite),
    )


def rewritten_value(value: Any, rewrite: Rewrite, key: str = "") -> Any:
    """A value of JSON with its texts rewritten, and those numbers that become a placeholder as a whole."""
    if isinstance(value, str):
        return rewritten_text(value, rewrite, key)
    if isinstance(value, Mapping):
        return {
            rewrite("", name) if isinstance(name, str) else name: rewritten_value(each, rewrite, str(name))
            for name, each in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [rewritten_value(each, rewrite, key) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        number = str(value)
        return _number(number, rewrite, key) or value
    return value


def rewritten_text(text: str, rewrite: Rewrite, key: str = "") -> str:
    """A text rewritten; one that is JSON stays JSON, to the last character of its layout."""
    if text[:1] in ("{", "[", '"') or text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return rewrite(key, text)
        return _json(text, rewrite)
    return rewrite(key, text)


def _json(text: str, rewrite: Rewrite) -> str:
    parts: list[str] = []
    key = ""
    tokens = _TOKEN.findall(text)
    for place, token in enumerate(tokens):
        if token[0] == '"':
            said = json.loads(token)
            after = next((each for each in tokens[place + 1 : place + 3] if not each.isspace()), "")
            if after == ":":
                new, key = rewrite("", said), said
            else:
                new = rewritten_text(said, rewrite, key)
            parts.append(token if new == said else json.dumps(new, ensure_ascii=token.isascii()))
        elif token[0] in "-0123456789" and token.lstrip("-").isdigit():
            number = _number(token, rewrite, key)
            parts.append(json.dumps(number) if number else token)
        else:
            parts.append(token)
    return "".join(parts)


def _number(number: str, rewrite: Rewrite, key: str) -> str | None:
    """The placeholder of a number that is one as a whole, such as that of a card."""
    if len(number.lstrip("-")) < _LONG_NUMBER and kind_under(key, number) is None:
        return None
    new = rewrite(key, number)
    return new if PLACEHOLDER.fullmatch(new) else None


def _message(message: Message, rewrite: Rewrite) -> Message:
    new: dict[str, Any] = {}
    for name, value in message.items():
        if name in _LABELS or (name == "name" and message.get("role") != "user"):
            new[name] = value
        elif name == "content" and isinstance(value, Sequence) and not isinstance(value, str):
            new[name] = [_part(part, rewrite) for part in value]
        elif name == "tool_calls" and isinstance(value, Sequence):
            new[name] = [_call(call, rewrite) for call in value]
        else:
            new[name] = rewritten_value(value, rewrite, "" if name == "content" else name)
    return new


def _part(part: Any, rewrite: Rewrite) -> Any:
    """Of a content in parts, the text; pictures and sound cannot be looked into."""
    if isinstance(part, str):
        return rewritten_text(part, rewrite)
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return {**part, "text": rewritten_text(part["text"], rewrite)}
    return part


def _call(call: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    new = dict(call)
    for name in ("args", "arguments"):
        if name in new:
            new[name] = rewritten_value(new[name], rewrite)
    if isinstance(new.get("function"), Mapping):
        new["function"] = _call(new["function"], rewrite)
    return new
