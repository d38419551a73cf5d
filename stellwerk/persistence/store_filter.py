"""Filters of the store: one meaning on every database, as they are applied here and never reach SQL.

A filter names keys of the value, and every one has to match. A key is just a key: dots, quotes and brackets
in it mean nothing. What it is compared with is

- a dict of operators, all of which have to hold: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`;
- another dict: the item has to hold a dict there, each named key of which matches in the same way;
- a list: the item has to hold a list of the same length there whose elements match in the same way;
- anything else: the item has to hold an equal value there, as with `$eq`.

Values are equal as JSON values are: `1` equals `1.0`, and `True` equals no number. `$ne` is the opposite of
`$eq`. The other operators compare two numbers, or two texts by code point; between anything else nothing is
larger or smaller, and the item does not match. A key that the item lacks matches `$ne` only: not even
`None`, which is a value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from stellwerk.errors import InputError
from stellwerk.persistence.json_value import plain

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS = ("$eq", "$ne", *_ORDER)
_ABSENT = object()


def checked(filter: Mapping[str, Any] | None) -> dict[str, Any]:
    """A filter that can be applied; empty if everything matches.

    Raises:
        InputError: if it is not JSON, or has an operator that is unknown or out of place.
    """
    if filter is None:
        return {}
    if not isinstance(filter, Mapping):
        raise InputError(f"the filter is a {type(filter).__name__}; give a dict of keys and values")
    found: dict[str, Any] = plain(filter, "the filter")
    for name, wanted in found.items():
        if name.startswith("$"):
            raise InputError(
                f"the filter has the operator {name!r} where a key belongs; "
                'put it inside one, as in {"size": {"$gt": 1}}'
            )
        _check(name, wanted)
    return found


def matches(filter: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a checked filter lets a value through."""
    return all(_matches(wanted, value.get(name, _ABSENT)) for name, wanted in filter.items())


def _check(name: str, wanted: Any) -> None:
    if isinstance(wanted, list):
        for item in wanted:
            _check(name, item)
    elif isinstance(wanted, dict):
        operators = [key for key in wanted if key.startswith("$")]
        for key in operators:
            if key not in OPERATORS:
                raise InputError(
                    f"the filter has the unknown operator {key!r} for {name!r}; use {', '.join(OPERATORS)}"
                )
        if operators and len(operators) < len(wanted):
            raise InputError(f"the filter mixes operators and keys for {name!r}; use one or the other")
        if not operators:
            for key, item in wanted.items():
                _check(key, item)


def _matches(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict):
        if any(key.startswith("$") for key in wanted):
            return all(_holds(key, value, operand) for key, operand in wanted.items())
        return isinstance(value, dict) and all(
            _matches(item, value.get(key, _ABSENT)) for key, item in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_matches(item, found) for item, found in zip(wanted, value, strict=True))
        )
    return _equal(value, wanted)


def _holds(name: str, value: Any, operand: Any) -> bool:
    if name == "$eq":
        return _equal(value, operand)
    if name == "$ne":
        return not _equal(value, operand)
    comparable = (_is_number(value) and _is_number(operand)) or (
        isinstance(value, str) and isinstance(operand, str)
    )
    return comparable and _ORDER[name](value, operand)


def _equal(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_equal, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_equal(value[name], other[name]) for name in value)
    return bool(value == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
