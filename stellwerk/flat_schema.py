"""JSON schemas as small models and simple servers take them: flat, without references, with a way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
DEEPEST = 12  # levels of a schema that is flattened; what refers to itself is left as it is
_NOISE = frozenset(
    {"title", "default", "examples", "$defs", "definitions", "discriminator", "$schema", "$id"}
)
_MAPS = frozenset({"properties", "patternProperties"})


class _TooDeepError(Exception):
    pass


def flat(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with references inlined, optional null simplified, titles and defaults dropped.

    The title of the whole is kept, as servers name the schema by it. A schema that refers to itself, or is
    deeper than `DEEPEST` levels, is returned as it is.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    try:
        found = _flat(schema, definitions, 0)
    except _TooDeepError:
        return dict(schema)
    return {"title": schema["title"], **found} if isinstance(schema.get("title"), str) else found


def with_unknown(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with `unknown` added to each enum of strings."""
    added: dict[str, Any] = _map(schema)
    return added


def _flat(schema: Any, definitions: Mapping[str, Any], depth: int) -> Any:
    if depth > DEEPEST:
        raise _TooDeepError
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        target = definitions.get(reference.rpartition("/")[2])
        if not isinstance(target, Mapping):
            raise _TooDeepError  # it points elsewhere; a schema that cannot be inlined stays as it is
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _flat({**target, **rest}, definitions, depth + 1)
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NOISE:
            continue
        if key in _MAPS and isinstance(value, Mapping):
            found[key] = {name: _flat(part, definitions, depth + 1) for name, part in value.items()}
        elif key in ("items", "additionalProperties", "not"):
            found[key] = _flat(value, definitions, depth + 1)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            found[key] = [_flat(part, definitions, depth + 1) for part in value]
        elif key == "const":
            found["enum"] = [value]
        else:
            found[key] = value
    return _without_null_branch(_merged(found))


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the only part of an `allOf`, `anyOf` or `oneOf` in its place."""
    for key in ("allOf", "anyOf", "oneOf"):
        parts = schema.get(key)
        if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
            rest = {name: value for name, value in schema.items() if name != key}
            if not rest.keys() & parts[0].keys() - {"description"}:
                return {**parts[0], **rest}
    return schema


def _without_null_branch(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` of one plain thing and null, as one thing that may be null."""
    parts = schema.get("anyOf")
    if not isinstance(parts, list) or len(parts) != 2 or {"type": "null"} not in parts:
        return schema
    other = parts[1] if parts[0] == {"type": "null"} else parts[0]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if not isinstance(other, dict) or rest.keys() & other.keys() - {"description"}:
        return schema
    if isinstance(values := other.get("enum"), list) and other.keys() <= {"enum", "type", "description"}:
        return {
            **{key: value for key, value in other.items() if key != "type"},
            **rest,
            "enum": [*values, None],
        }
    if isinstance(kind := other.get("type"), str) and kind not in ("object", "array", "null"):
        return {**other, **rest, "type": [kind, "null"]}
    return schema


def _map(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_map(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS or key in ("$defs", "definitions"):
            found[key] = {name: _map(part) for name, part in value.items()}
        elif key == "enum":
            texts = all(isinstance(member, str) for member in value)
            found[key] = [*value, UNKNOWN] if texts and UNKNOWN not in value else value
        elif key in ("default", "examples", "const", "required"):
            found[key] = value
        else:
            found[key] = _map(value)
    return found
