"""A worker's value that a person gives, and what a worker's value says that it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from langgraph.errors import GraphBubbleUp
from pydantic import ValidationError

from stellwerk.flat_schema import UNKNOWN, flat
from stellwerk.outcome import Reason
from stellwerk.worker import Brief, Schema, Worker


def unknown_in(worker: Worker, value: Any) -> list[str]:
    """The fields of a value that are not known: those that say `unknown`, and required ones that are null."""
    found = list(_unknown(value, ""))
    if worker.finish is None and isinstance(value, Mapping):
        fields = worker.output.model_fields.items()
        found += [name for name, field in fields if field.is_required() and value.get(name, "") is None]
    return found


def is_unknown(worker: Worker, state: Mapping[str, Any]) -> bool:
    """Whether a person is to be asked, now that the worker has ended: it is accepted and lacks something.

    So is a worker all of whose models say that they do not know.
    """
    if not worker.ask or (verdict := state.get("verdict")) is None:
        return False
    if verdict["accepted"]:
        return bool(unknown_in(worker, state["value"]))
    return bool(verdict.get("reason") == Reason.UNKNOWN)


def schema_of(worker: Worker, *, in_part: bool = False) -> Schema:
    """The schema of a value that a person may give, or of the part of it that is not known."""
    schema = flat(worker.schema)
    return {name: part for name, part in schema.items() if name != "required"} if in_part else schema


def given_by_person(worker: Worker, brief: Brief, given: Any, found: Any = None) -> Any:
    """The worker's value, as JSON: what a person gave, over what was found where that was in part.

    It has the form of the model's answer, and goes through the worker's `finish`. The checks are for models.

    Raises:
        ValueError: if it does not fit.
    """
    if isinstance(given, str):  # from a client with one field of text
        with suppress(ValueError):
            given = json.loads(given)
    if isinstance(given, Mapping):
        known = worker.schema.get("properties")
        if known and not worker.schema.get("additionalProperties", False):
            for name in given:
                if name not in known:
                    raise ValueError(f"{name} is no field; there are {', '.join(known)}")
        if worker.finish is None and isinstance(found, Mapping):
            given = {**found, **given}
    try:
        answer = worker.output.model_validate(given)
        result = worker.finish(answer, worker.on_its_rails(brief)) if worker.finish else answer
        value = result.model_dump(mode="json")
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # or no checkpoint can hold it
    except GraphBubbleUp:
        raise
    except ValidationError as error:
        raise ValueError(in_words(error)) from error
    except Exception as error:  # of the worker's own code
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return value


def in_words(error: ValidationError, whole: str = "the value") -> str:
    """What is wrong with a value, field by field; `whole` is what it is called itself."""
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc']) or whole}: {each['msg']}"
        for each in error.errors(include_url=False)[:5]
    )


def _unknown(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip().casefold() == UNKNOWN:
            yield path or "the value"
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _unknown(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _unknown(part, f"{path}[{number}]")
