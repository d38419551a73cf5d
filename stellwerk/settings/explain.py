"""Errors of settings: which key, where it stands, what was found unless it may be secret, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from stellwerk.settings.declared import Declared

_KEY = re.compile(r"(^|_)(api_?key|key|token|secret|password|passwd|authorization)$", re.IGNORECASE)
# Prefixes that providers give their keys, or a long run of letters and digits.
_LOOKS_SECRET = re.compile(
    r"\b(sk|pk|rk|gsk|hf|ghp|xai|key|tok|bearer|aiza)[-_ ][\w-]{3,}"
    r"|(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{24,}|[@?]",
    re.IGNORECASE,
)
_WANTED = {
    "url": "it should look like http://127.0.0.1:8000/v1, without user, password, query or fragment",
    "workers": 'it should be the name of a ready-made worker, or "package.module:worker"',
}


def near(name: str, names: Iterable[str]) -> str:
    """A question that names the nearest of the names; empty if none is near."""
    found = get_close_matches(name, list(names), n=1)
    return f"did you mean {found[0]}? " if found else ""


def explain(settings: type[BaseModel], error: ValidationError, declared: Declared) -> str:
    """What is wrong, a sentence and a line for each key; keys that do not exist come first.

    A misspelt key is often one that is then missing too, which says less.
    """
    found = error.errors(include_url=False, include_context=False)
    found.sort(key=lambda each: each["type"] != "extra_forbidden")
    return "\n".join(dict.fromkeys(_sentence(settings, each, declared) for each in found))


def _sentence(settings: type[BaseModel], wrong: ErrorDetails, declared: Declared) -> str:
    path: tuple[str | int, ...] = tuple(wrong["loc"])
    where = declared.label(path)
    names = [str(part) for part in path]
    if wrong["type"] == "extra_forbidden":
        if _KEY.search(names[-1]):
            return f"{where}: {_no_key(declared, path)}"
        keys = _model_at(settings, path[:-1]).model_fields
        if path[:-1] == ("errors",) and isinstance(wrong["input"], dict):
            return f"{where}: there is no such key; one worker has [errors.workers.{names[-1]}]"
        return f"{where}: there is no such key; {near(names[-1], keys)}keys: {', '.join(keys)}"
    if wrong["type"] == "missing":
        return f"{where}: it is missing; set it"
    if names[-1:] == ["api_key_env"]:
        return f"{where}: give the NAME of an environment variable (like OPENAI_API_KEY), never the key"
    said = wrong["msg"].removeprefix("Value error, ").replace("tuple", "list").replace("Tuple", "The list")
    if wrong["type"] == "string_pattern_mismatch":
        said = next((wanted for key, wanted in _WANTED.items() if key in names), said)
    return f"{where}: {said}{_found(names, wrong['input'])}"


def _no_key(declared: Declared, path: Sequence[str | int]) -> str:
    name = declared.tier_name(path)
    if name is None:
        return "a secret does not belong here; settings name a variable or a file that holds it"
    variable = re.sub(r"\W", "_", name).upper() + "_API_KEY"
    return (
        "a key does not belong in settings, where it is copied and shared; export it and name the variable: "
        f'api_key_env = "{variable}" (or a file: api_key_file = "...")'
    )


def _found(path: Sequence[str], value: Any) -> str:
    if not isinstance(value, str | int | float | bool) or any(_KEY.search(part) for part in path):
        return ""
    text = repr(value)
    return "" if _LOOKS_SECRET.search(text) else f" (found {text[:80]})"


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        nested = _nested(field.annotation) if field is not None else None
        model = nested or model
    return model


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _nested(part))), None)
