"""What a LangChain model gave, in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from stellwerk.outcome import ToolUse, Usage


@dataclass(slots=True, kw_only=True)
class GivenReply:
    """A reply.

    Args:
        text: of it; None where there is none.
        uses: the tool calls that it asks for; nothing has come of them yet.
        usage: tokens; None where the model does not say.
        model: the name that the server gives; empty where it gives none.
        finish: why the model stopped.
        was_kept: whether it comes from LangChain's cache, so that no model was asked.
        broken: whether it holds a tool call that could not be read.
        record: what a model of ours says of itself; see `stellwerk.chat`.
    """

    text: str | None = None
    uses: list[ToolUse] = field(default_factory=list)
    usage: Usage | None = None
    model: str = ""
    finish: str = ""
    was_kept: bool = False
    broken: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)


def read_reply(result: LLMResult) -> GivenReply:
    """The reply in what a model's run gave."""
    if not result.generations or not result.generations[0]:
        return GivenReply()
    first = result.generations[0][0]
    told: Mapping[str, Any] = result.llm_output or {}
    if not isinstance(first, ChatGeneration) or not isinstance(first.message, AIMessage):
        return GivenReply(
            text=first.text or None,
            usage=_billed(told.get("token_usage")),
            model=str(told.get("model_name") or ""),
            finish=str((first.generation_info or {}).get("finish_reason") or ""),
        )
    message = first.message
    details = {**(first.generation_info or {}), **message.response_metadata}
    tokens: Mapping[str, Any] | None = message.usage_metadata
    return GivenReply(
        text=str(message.text) or None,
        uses=[unused(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls],
        usage=_told(tokens) or _billed(told.get("token_usage") or details.get("token_usage")),
        model=str(details.get("model_name") or details.get("model") or told.get("model_name") or ""),
        finish=str(details.get("finish_reason") or details.get("stop_reason") or ""),
        was_kept=tokens is not None and tokens.get("total_cost") == 0,
        broken=bool(message.invalid_tool_calls),
        record=_mapping(details.get("stellwerk")),
    )


def unused(id: str, name: str, args: Mapping[str, Any]) -> ToolUse:
    """A tool call of which nothing has come yet."""
    return ToolUse(id=id, name=name, args=dict(args), output="", failed=False, seconds=0.0)


def definitions(options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tools that a call offers, in its options."""
    given = options.get("tools") or options.get("functions") or ()
    return [each for each in given if isinstance(each, Mapping)] if isinstance(given, Sequence) else ()


def form_of(*options: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """The JSON schema that an answer has to follow, and whether a tool call stands for the answer."""
    for given in options:
        told = given.get("ls_structured_output_format")
        if isinstance(told, Mapping):
            kwargs, schema = _mapping(told.get("kwargs")), told.get("schema")
            by_tool = kwargs.get("method") == "function_calling"
            return (schema if isinstance(schema, Mapping) else {}), by_tool
    for given in options:
        form = given.get("response_format")
        if isinstance(form, Mapping) and form.get("type") != "text":
            inner = form.get("json_schema")
            schema = inner.get("schema") if isinstance(inner, Mapping) else None
            return (schema if isinstance(schema, Mapping) else {}), False
    return None, False


def texts(prompts: Sequence[str]) -> list[list[BaseMessage]]:
    """Prompts of a model that takes a text, as messages."""
    from langchain_core.messages import HumanMessage

    return [[HumanMessage(prompt)] for prompt in prompts]


def _told(usage: Mapping[str, Any] | None) -> Usage | None:
    if not usage or not (usage.get("input_tokens") or usage.get("output_tokens")):
        return None
    cached = _mapping(usage.get("input_token_details")).get("cache_read") or 0
    return Usage(
        input=int(usage.get("input_tokens") or 0),
        cached=int(cached),
        output=int(usage.get("output_tokens") or 0),
    )


def _billed(usage: object) -> Usage | None:
    told = _mapping(usage)
    if not (told.get("prompt_tokens") or told.get("completion_tokens")):
        return None
    cached = _mapping(told.get("prompt_tokens_details")).get("cached_tokens") or 0
    return Usage(
        input=int(told.get("prompt_tokens") or 0),
        cached=int(cached),
        output=int(told.get("completion_tokens") or 0),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
