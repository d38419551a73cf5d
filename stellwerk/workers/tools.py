"""The tools of a worker: LangChain tools, or plain functions made into such."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from langchain_core.tools import BaseTool, InjectedToolCallId
from langchain_core.tools import tool as make_tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from stellwerk.effects import DECLARED, Effect
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


def declared_effects(
    worker: str, effects: Mapping[str, str], serial: Collection[str], tools: Iterable[BaseTool]
) -> dict[str, Effect]:
    """What the tools declare: the worker's own word first, then that of the tool, then that of its server.

    Raises:
        ConfigurationError: if a name is that of no tool, or a declaration is none.
    """
    tools = list(tools)
    for argument, names in (("serial", serial), ("effects", effects)):
        _check_named(worker, argument, names, tools)
    found: dict[str, Effect] = {}
    for tool in tools:
        own = _declared(tool)
        said = effects.get(tool.name, own)
        if tool.name in serial and (said is None or said == "read"):
            if tool.name in effects:
                raise ConfigurationError(
                    f"worker {worker!r}: serial says that {tool.name!r} has side effects, and effects says "
                    "'read'; leave one of them out"
                )
            said = "write"
        if said is None:
            continue
        try:
            found[tool.name] = _with_own(said, own)
        except ConfigurationError as error:
            raise ConfigurationError(f"worker {worker!r}: tool {tool.name!r}: {error}") from None
    return found


def _with_own(said: str, own: str | None) -> Effect:
    """The effect that somebody named in a word, with the rest of what the tool itself declares."""
    if isinstance(said, Effect) or not isinstance(own, Effect):
        return Effect.of(said)
    key, reconcile = (own.idempotency_key, own.reconcile) if said == own == "write" else (None, None)
    return Effect(said, idempotency_key=key, reconcile=reconcile, approve=own.approve)


def approved_tools(worker: str, names: Collection[str], tools: Iterable[BaseTool]) -> frozenset[str]:
    """Names of tools before whose calls a person is asked, checked.

    Raises:
        ConfigurationError: if a name is that of no tool.
    """
    _check_named(worker, "approve", names, tools)
    return frozenset(names)


def _check_named(worker: str, argument: str, names: Collection[str], tools: Iterable[BaseTool]) -> None:
    there = [tool.name for tool in tools]
    wrong = [names] if isinstance(names, str) else sorted(set(names) - set(there))
    if wrong:
        raise ConfigurationError(
            f"worker {worker!r}: {argument} names {wrong[0]!r}; give a list of names of its tools: "
            f"{', '.join(there) or 'it has none'}"
        )


def _declared(tool: BaseTool) -> str | None:
    metadata = tool.metadata or {}
    if (said := metadata.get(DECLARED)) is not None:
        return str(said) if not isinstance(said, str) else said
    for code in (getattr(tool, "func", None), getattr(tool, "coroutine", None)):
        if isinstance(said := getattr(code, DECLARED, None), str):
            return said
    # What an MCP server says of its tools.
    return {True: "read", False: "write"}.get(metadata.get("readOnlyHint"))  # type: ignore[arg-type]  # a server may send anything


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
