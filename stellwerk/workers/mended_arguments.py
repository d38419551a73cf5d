"""Arguments after the model: mended where what is meant is beyond doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stellwerk.workers.literals import Number, percentages
from stellwerk.workers.parameter import Parameter, parameters_of

Arguments = Mapping[str, Any]

_IN_PERCENT = re.compile(r"percent|%|pct", re.I)


def without_repeats(arguments: Arguments) -> dict[str, Any]:
    """A list of words says each once: a small model that cannot end a list repeats its last words."""
    return {
        name: list(dict.fromkeys(value)) if _is_words(value) else value for name, value in arguments.items()
    }


def with_fractions(arguments: Arguments, function: Mapping[str, Any], request: str) -> dict[str, Any]:
    """Percentages of the request as fractions: what it writes as '5%' is 0.05.

    An integer, and a number whose name or description speaks of percent, stay as they are. So does a figure
    that the request also gives without a percent sign.

    Args:
        arguments: as the model gave them.
        function: name, description and parameters, as the OpenAI chat API has it, its schema flat.
        request: where the arguments come from.
    """
    shares = percentages(request)
    found = dict(arguments)
    for parameter in parameters_of(function):
        if (
            parameter.name in found
            and shares
            and not _IN_PERCENT.search(f"{parameter.name} {parameter.description}")
        ):
            found[parameter.name] = _as_fraction(found[parameter.name], parameter, shares)
    return found


def _as_fraction(value: Any, parameter: Parameter, shares: frozenset[Number]) -> Any:
    if parameter.kind == "array" and parameter.items.get("type") == "number" and isinstance(value, list):
        return [_fraction(part, shares) for part in value]
    return _fraction(value, shares) if parameter.kind == "number" else value


def _fraction(value: Any, shares: frozenset[Number]) -> Any:
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and value in shares
    return round(value / 100, 12) if is_share else value


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
