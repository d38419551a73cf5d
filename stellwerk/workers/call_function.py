"""Call a function: pick one of several, and fill in its arguments. The call is given back, not made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, model_validator

from stellwerk.errors import ConfigurationError
from stellwerk.flat_schema import flat, with_unknown
from stellwerk.rails import Rails
from stellwerk.worker import Brief, Schema, Worker
from stellwerk.workers.create import create_worker
from stellwerk.workers.follows_schema import breach
from stellwerk.workers.grounded_arguments import argument_schema
from stellwerk.workers.likely_function import likely_function
from stellwerk.workers.mended_arguments import with_fractions, without_repeats
from stellwerk.workers.signature import signature

_RULES = """\
Call the function that does the job. Copy each value from the job, in its order. Leave out what is optional \
and not in the job."""
_SOLVED = (
    (
        {
            "name": "reserve_table",
            "description": "Reserve a table in a restaurant.",
            "parameters": {
                "properties": {
                    "restaurant": {"type": "string", "description": "Name of the restaurant."},
                    "guests": {"type": "integer", "description": "How many people come."},
                    "seating": {
                        "type": "string",
                        "description": "'indoor' or 'terrace', by default 'indoor'.",
                    },
                    "limit": {"type": "number", "description": "Price limit per person. Default is 50.0."},
                },
                "required": ["restaurant", "guests"],
            },
        },
        "We are four and want to sit on the terrace of the Blue Lantern.",
        {"restaurant": "Blue Lantern", "guests": 4, "seating": "terrace"},
    ),
    (
        {
            "name": "soil.mix",
            "description": "Work out how much soil fills a bed.",
            "parameters": {
                "properties": {
                    "length": {"type": "integer", "description": "Length of the bed in cm."},
                    "width": {"type": "integer", "description": "Width of the bed in cm."},
                    "plants": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Plants that the bed is for.",
                    },
                    "unit": {"type": "string", "description": "Unit of the result, by default 'litres'."},
                },
                "required": ["length", "width"],
            },
        },
        "How much soil does a bed need that is 120 cm long and 45 cm wide, for basil and thyme?",
        {"length": 120, "width": 45, "plants": ["basil", "thyme"]},
    ),
)


class FunctionCall(BaseModel):
    """A function and the arguments to call it with."""

    model_config = ConfigDict(extra="forbid")

    function: str
    arguments: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        # Of several functions, each ties its name to its own arguments; servers take such a choice inside of
        # an object only.
        return value["call"] if isinstance(value, dict) and value.keys() == {"call"} else value


def call_function_worker(
    functions: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool],
    *,
    name: str = "call_function",
    rails: Rails | None = None,
    max_tokens: int = 256,
) -> Worker:
    """A worker that picks one of the functions and fills in its arguments, without calling it.

    Its result is `{"function": ..., "arguments": {...}}`. For a worker that calls what it picks, give
    `create_worker` the `tools`. A value that has to be worked out from the request rather than read in it
    (grams from kilograms, say) is beyond this worker while `rails.ground` is on.

    Args:
        functions: in the form of the OpenAI chat API, as LangChain tools, or as functions with types and a
            docstring.
        name: of the worker.
        rails: what keeps the model on the track, on every tier; if None, what each tier needs. `ground`,
            `omit`, `settle`, `solved` and `shares` are this worker's.
        max_tokens: of a call.

    Raises:
        ConfigurationError: if there is no function, or two have one name.
    """
    known: dict[str, dict[str, Any]] = {}
    for function in functions:
        one = _as_function(function)
        if one["name"] in known:
            raise ConfigurationError(f"worker {name!r} has two functions named {one['name']!r}; rename one")
        known[one["name"]] = one
    if not known:
        raise ConfigurationError(f"worker {name!r} has no function to call; give at least one")

    def narrow(_: Schema, brief: Brief) -> Schema:
        on = brief.rails
        offered: list[dict[str, Any]] = list(known.values())
        if on.settle and (likely := likely_function(offered, brief.instruction)):
            offered = [dict(likely)]
        if on.unknown:
            offered = [{**one, "parameters": with_unknown(one["parameters"])} for one in offered]
        grounded = on.ground or on.omit or on.settle
        calls = [
            _call_schema(
                function,
                argument_schema(function, brief.instruction, on) if grounded else function["parameters"],
            )
            for function in offered
        ]
        if len(known) == 1:
            return calls[0]
        return {
            "type": "object",
            "properties": {"call": {"anyOf": calls} if len(calls) > 1 else calls[0]},
            "required": ["call"],
            "additionalProperties": False,
        }

    def finish(call: FunctionCall, brief: Brief) -> FunctionCall:
        arguments = without_repeats(call.arguments)
        if brief.rails.shares and call.function in known:
            arguments = with_fractions(arguments, known[call.function], brief.instruction)
        return FunctionCall(function=call.function, arguments=arguments)

    def arguments_follow_the_schema(call: FunctionCall, brief: Brief) -> str | None:
        if call.function not in known:
            return f"there is no function {call.function!r}; there are {', '.join(known)}"
        return breach(call.arguments, known[call.function]["parameters"])

    def prompt(on: Rails) -> str:
        solved = _solved(several=len(known) > 1) if on.solved else []
        return "\n\n".join([_RULES, *solved, *(signature(function) for function in known.values())])

    return create_worker(
        name,
        description=f"fill in a call of one of the functions {', '.join(known)}",
        output=FunctionCall,
        prompt=prompt,
        checks=(arguments_follow_the_schema,),
        finish=finish,
        narrow=narrow,
        max_tokens=max_tokens,
        rails=rails,
    )


def _as_function(function: Any) -> dict[str, Any]:
    if isinstance(function, Mapping) and "name" in function and "parameters" in function:
        found = dict(function)  # as it is: the names of some have dots, and LangChain would refuse them
    else:
        found = dict(convert_to_openai_tool(function)["function"])
    found["parameters"] = flat(found.get("parameters") or {"type": "object", "properties": {}})
    return found


def _call_schema(function: Mapping[str, Any], arguments: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"function": {"enum": [function["name"]]}, "arguments": arguments},
        "required": ["function", "arguments"],
        "additionalProperties": False,
    }


def _solved(*, several: bool) -> list[str]:
    functions = [signature(function) for function, _, _ in _SOLVED]
    cases = []
    for (function, job, arguments), own in zip(_SOLVED, functions, strict=True):
        call: dict[str, Any] = {"function": function["name"], "arguments": arguments}
        shown = "\n\n".join(functions) if several else own
        cases.append(f"{shown}\n\nJob: {job}\nAnswer: {json.dumps({'call': call} if several else call)}")
    return cases
