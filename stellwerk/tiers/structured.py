"""vLLM's structured outputs: one constraint that the server holds an answer to."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from typing_extensions import TypedDict

from stellwerk.errors import ConfigurationError


class StructuredOutputs(TypedDict, total=False):
    """As vLLM takes it: one of the first six, and settings for it."""

    json: dict[str, Any] | str
    regex: str
    choice: list[str]
    grammar: str
    json_object: bool
    structural_tag: str
    disable_any_whitespace: bool
    disable_additional_properties: bool
    whitespace_pattern: str


_CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")


def check_structured_outputs(given: Any) -> StructuredOutputs | None:
    """The constraint, if it is one that vLLM knows.

    Raises:
        ConfigurationError: if it has an unknown name, no constraint, or more than one.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"structured_outputs is a {type(given).__name__}; give a dictionary such as {{'choice': [...]}}"
        )
    names = list(StructuredOutputs.__annotations__)
    for name in given:
        if name not in names:
            near = get_close_matches(str(name).removeprefix("guided_").removesuffix("s"), names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(f"structured_outputs has no {name!r}; {hint}it has {', '.join(names)}")
    found = [name for name in _CONSTRAINTS if given.get(name) is not None]
    if len(found) != 1:
        raise ConfigurationError(
            f"structured_outputs has {' and '.join(found) or 'no constraint'}; "
            f"give one of {', '.join(_CONSTRAINTS)}"
        )
    return StructuredOutputs(**given)  # type: ignore[typeddict-item]  # its names were checked


def refuse_guided(options: object) -> None:
    """Refuse the names that constraints had before vLLM 0.12.

    Raises:
        ConfigurationError: naming the form in use now. The server would ignore the old one and answer freely.
    """
    for name in options if isinstance(options, Mapping) else ():
        if str(name).startswith("guided_"):
            kind = str(name).removeprefix("guided_")
            form = f"structured_outputs={{{kind!r}: ...}}" if kind in _CONSTRAINTS else "structured_outputs"
            raise ConfigurationError(
                f"{name!r} is ignored by vLLM since 0.12, and the answer would be free; use {form}"
            )
