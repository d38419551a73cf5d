"""Whether a function call is one that BFCL accepts.

The rules of the Berkeley Function-Calling Leaderboard's AST check for Python (Patil et al., 2025, "The
Berkeley Function Calling Leaderboard", ICML; categories simple and multiple): the function has to be the one
expected; each required parameter there; none that the accepted answers do not know; each value of the
parameter's type (an integer passes for a float, not the other way round) and among the accepted ones;
strings are compared without case, spaces and the signs ,./-_*^; a parameter may be left out only where "" is
among its accepted values. An object is compared part by part with lists of accepted values for each.

One departure: BFCL refuses an integer within a list of floats. JSON has one type of number, so it is
read here as a float, as BFCL itself does outside of lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_TYPES: Mapping[str, type] = {
    "string": str,
    "any": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
}
LEFT_OUT = ""


def problem(
    name: str,
    arguments: Mapping[str, Any],
    functions: Sequence[Mapping[str, Any]],
    truth: Mapping[str, Mapping[str, Sequence[Any]]],
) -> str | None:
    """What is wrong with a call, in a few words; None if it is accepted.

    Args:
        name: of the function called.
        arguments: of the call.
        functions: as BFCL publishes them.
        truth: the expected function, with the accepted values of each parameter.
    """
    expected, accepted = next(iter(truth.items()))
    if name != expected:
        return f"{name} in place of {expected}"
    function = next(function for function in functions if function["name"] == expected)
    known = function["parameters"]["properties"]
    for needed in function["parameters"].get("required", ()):
        if needed not in arguments:
            return f"{needed} is missing"
    for parameter, value in arguments.items():
        if parameter not in known or parameter not in accepted:
            return f"{parameter} was not expected"
        if not _is_accepted(value, known[parameter], accepted[parameter]):
            return f"{parameter} is {value!r}; accepted: {accepted[parameter]!r}"
    for parameter, values in accepted.items():
        if parameter not in arguments and LEFT_OUT not in values:
            return f"{parameter} was left out; accepted: {values!r}"
    return None


def _is_accepted(value: Any, schema: Mapping[str, Any], accepted: Sequence[Any]) -> bool:
    kind: Any = _TYPES[schema["type"]]
    if schema["type"] == "float" and type(value) is int:
        value = float(value)
    expected = next((type(option) for option in accepted if option != LEFT_OUT), None)
    if type(value) is not kind:
        # A variable in place of a value: its name has the type of the accepted answers.
        return expected is not None and type(value) is expected and value in accepted
    if expected is not None and expected is not kind:
        return value in accepted
    if kind is str:
        return _plain(value) in [_plain(option) for option in accepted if isinstance(option, str)]
    if kind is dict:
        return any(_is_object(value, option) for option in accepted)
    if kind is list:
        lists: list[list[Any]] = [option for option in accepted if isinstance(option, list)]
        if schema.get("items", {}).get("type") == "dict":
            return any(len(option) == len(value) and all(map(_is_object, value, option)) for option in lists)
        inner = _TYPES.get(schema.get("items", {}).get("type", ""))
        return any(_is_list(value, option, inner) for option in lists)
    return value in accepted


def _is_list(value: list[Any], option: list[Any], inner: type | None) -> bool:
    if inner is float:
        value = [float(part) if type(part) is int else part for part in value]
    # Within a list BFCL takes an element's type from the accepted answers as well as from the schema.
    types = {inner, *(type(part) for part in option)}
    if inner is not None and any(type(part) not in types for part in value):
        return False
    return [_plain(part) for part in value] == [_plain(part) for part in option]


def _is_object(value: Any, option: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(option, dict):
        return False
    for key, part in value.items():
        if key not in option or _plain(part) not in [_plain(one) for one in option[key]]:
            return False
    return all(key in value or LEFT_OUT in values for key, values in option.items())


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"')
