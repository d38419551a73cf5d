"""The arguments of a call of a tool: as the tool gets them, and what calls with equal ones share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from stellwerk.effects import canonical, effect_key
from stellwerk.worker import Schema
from stellwerk.workers.follows_schema import breach


def arguments(tool: BaseTool, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments as the tool gets them, with its defaults, as JSON; so that `1` and `1.0` are the same.

    They are as they were given where the tool's schema does not write out all that it reads, such as secrets:
    two calls that differ in one are not the same.

    Raises:
        ValidationError: if they do not fit; and whatever a validator of the tool's own raises.
    """
    schema = tool.args_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return args
    checked = schema.model_validate(dict(args))
    try:
        plain: dict[str, Any] = checked.model_dump(mode="json")
        whole = schema.model_validate(plain) == checked
    except Exception:  # a default that is no JSON, such as one that is injected
        return args
    return plain if whole else args


def call_name(tool: BaseTool, args: Mapping[str, Any]) -> str:
    """What a call is known by in its subtask, whatever id the model gives it: equal for equal arguments."""
    with suppress(Exception):  # from a validator of the tool's own; no such call is made, nor asked about
        args = arguments(tool, args)
    return effect_key(tool.name, canonical(args))


def schema_of_args(tool: BaseTool) -> Schema:
    """The schema of a tool's arguments, as a model is told it."""
    schema: Schema = convert_to_openai_tool(tool)["function"].get("parameters", {"type": "object"})
    return schema


def edited(tool: BaseTool, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a person gave.

    Raises:
        ValueError: if they do not fit; other than from a model, also what the tool would leave out.
    """
    if problem := breach(dict(args), schema_of_args(tool)):
        raise ValueError(problem)
    return dict(arguments(tool, args))
