"""Whether a value follows a flat JSON schema: the keywords that functions use for their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def breach(value: Any, schema: Mapping[str, Any] | bool, where: str = "arguments") -> str | None:
    """What is wrong with a value, in a sentence; None if nothing is.

    Knows `type`, `enum`, `anyOf`, `properties`, `required`, `additionalProperties` as a flag, and `items`.
    A schema that is a flag takes anything, or nothing.
    """
    if isinstance(schema, bool):
        return None if schema else f"{where} must not be there"
    if "enum" in schema:
        if any(value == member and type(value) is type(member) for member in schema["enum"]):
            return None
        return f"{where} is {_shown(value)}; allowed are {_shown(schema['enum'])}"
    if branches := schema.get("anyOf"):
        problems = [breach(value, branch, where) for branch in branches]
        return None if None in problems else problems[0]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{where} is {_shown(value)}; it must be of type {' or '.join(kinds)}"
    if isinstance(value, dict):
        return _parts(value, schema, where)
    if isinstance(value, list):
        items = schema.get("items")
        found = (breach(v, items, f"{where}[{i}]") for i, v in enumerate(value)) if items else ()
        return next((problem for problem in found if problem), None)
    return None


def _parts(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> str | None:
    known: Mapping[str, Any] = schema.get("properties") or {}
    required: Sequence[str] = schema.get("required") or ()
    for name in required:
        if name not in value:
            return f"{where}.{name} is missing"
    for name, part in value.items():
        if name in known:
            if problem := breach(part, known[name], f"{where}.{name}"):
                return problem
        elif known and schema.get("additionalProperties", False) is False:
            return f"{where}.{name} is no parameter; there are {', '.join(known)}"
    return None


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, object))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
