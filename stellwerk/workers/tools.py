"""The tools of a worker: LangChain tools, or plain functions made into such."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from langchain_core.tools import BaseTool, InjectedToolCallId
from langchain_core.tools import tool as make_tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from stellwerk.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI's chat API takes


def as_tools(worker: str, given: Iterable[BaseTool | Callable[..., Any]]) -> tuple[BaseTool, ...]:
    """Tools that a model can be told of.

    Raises:
        ConfigurationError: if one is no tool, has no usable name or schema, or shares its name.
    """
    tools: dict[str, BaseTool] = {}
    for one in given:
        tool = _as_tool(worker, one)
        if not _NAME.fullmatch(tool.name):
            raise ConfigurationError(
                f"worker {worker!r}: tool name {tool.name!r} is not usable; "
                "use at most 64 of a-z, A-Z, 0-9, _ and -"
            )
        if tool.name in tools:
            raise ConfigurationError(f"worker {worker!r} has two tools named {tool.name!r}; rename one")
        tools[tool.name] = tool
    return tuple(tools.values())


def _as_tool(worker: str, one: BaseTool | Callable[..., Any]) -> BaseTool:
    if not isinstance(one, BaseTool) and not callable(one):
        raise ConfigurationError(
            f"worker {worker!r}: {one!r} is no tool; pass a function or a LangChain tool"
        )
    try:
        tool = one if isinstance(one, BaseTool) else make_tool(one)
        schema = convert_to_openai_tool(tool)
    except Exception as error:  # pydantic and LangChain raise many kinds over a signature
        name = getattr(one, "name", None) or getattr(one, "__name__", repr(one))
        raise ConfigurationError(
            f"worker {worker!r}: {name!r} cannot be made a tool ({error}); "
            "give its arguments types of JSON, and it a docstring"
        ) from error
    if injected := _injected(tool, schema):
        raise ConfigurationError(
            f"worker {worker!r}: tool {tool.name!r} wants {', '.join(injected)} injected, and a worker has "
            "nothing to inject; leave it out, or give it a default"
        )
    if "runtime" in schema["function"].get("parameters", {}).get("properties", {}):
        raise ConfigurationError(
            f"worker {worker!r}: tool {tool.name!r} has an argument named 'runtime', which LangGraph fills "
            "by itself and not from the model's call; rename the argument"
        )
    return tool


def side_effects(worker: str, declared: Collection[str], tools: Iterable[BaseTool]) -> frozenset[str]:
    """Names of the tools that have side effects: those declared, and those whose MCP server says so.

    Raises:
        ConfigurationError: if a name is that of no tool.
    """
    tools = list(tools)
    there = [tool.name for tool in tools]
    wrong = [declared] if isinstance(declared, str) else sorted(set(declared) - set(there))
    if wrong:
        raise ConfigurationError(
            f"worker {worker!r}: serial names {wrong[0]!r}; give a list of names of its tools: "
            f"{', '.join(there) or 'it has none'}"
        )
    # What a server says of itself is not to be trusted, but to believe this only makes calls slower.
    said = {tool.name for tool in tools if (tool.metadata or {}).get("readOnlyHint") is False}
    return frozenset({*declared, *said})


def _injected(tool: BaseTool, schema: dict[str, Any]) -> list[str]:
    """Arguments that the model is not told of and that nobody else would give."""
    if not (isinstance(tool.args_schema, type) and issubclass(tool.args_schema, BaseModel)):
        return []
    told = schema["function"]["parameters"].get("properties", {})
    return [
        name
        for name, field in tool.args_schema.model_fields.items()
        if field.is_required()
        and (field.alias or name) not in told
        and InjectedToolCallId not in field.metadata
    ]
