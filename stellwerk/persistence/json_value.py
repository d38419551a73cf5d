"""JSON values, and nothing that only looks like one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from stellwerk.errors import InputError


def plain(value: Any, what: str) -> Any:
    """A value as it comes back from JSON: mappings as dicts, tuples as lists.

    Raises:
        InputError: if it is not JSON; `what` names the value in the message.
    """
    try:
        return _plain(value, what, "$")
    except RecursionError:
        raise InputError(f"{what} is nested too deep, or contains itself; store a flatter value") from None


def dump(value: Any, what: str) -> str:
    """A plain value as JSON, in ASCII: so a NUL or half a surrogate pair survives every database.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        return json.dumps(value, allow_nan=False, check_circular=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:  # an integer of more digits than Python writes
        raise InputError(f"{what} cannot be written as JSON: {error}") from None


def load(stored: str) -> Any:
    """What was dumped."""
    return json.loads(stored)


def _plain(value: Any, what: str, path: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise InputError(f"{what} holds {value!r} at {path}, which JSON has no word for; store None instead")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise InputError(
                    f"{what} has the key {name!r} of type {type(name).__name__} at {path}; use text as keys"
                )
        return {name: _plain(item, what, f"{path}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, what, f"{path}[{index}]") for index, item in enumerate(value)]
    raise InputError(
        f"{what} holds a {type(value).__name__} at {path}, which is not JSON; "
        "convert it to text, a number, a list or a dict"
    )
