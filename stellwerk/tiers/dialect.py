"""Dialect: a request as a tier's server understands it.

A capability that was seen to be missing is not relied on; one that is not known is taken to be there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

from stellwerk.capabilities import Capabilities
from stellwerk.tiers.written_tools import call_schema, offer, without_tool_messages

if TYPE_CHECKING:
    from stellwerk.tiers.tier import Request, Tier

_CUE = "\nAnswer:"  # with which prompts of workers end
_UNKNOWN = Capabilities()


def phrased(request: Request, tier: Tier) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The messages to send, and the arguments in the form of the OpenAI chat API.

    - A schema goes where it is enforced: into `response_format`, or else `structured_outputs`, or else the
      prompt, and then the checks alone see to it. Beside tools that it would disable, into the prompt.
    - Where a server takes no calls that the model makes of itself, a tool is required until one has answered,
      and after that none is offered.
    - Where it takes no calls at all, but enforces a schema, the prompt offers the tools and the schema is
      that of a call.
    - Tools are marked `strict` for vLLM, which holds arguments to their schema only then.
    """
    able, arguments = tier.capabilities or _UNKNOWN, request.arguments()
    messages, schema = list(request.messages), request.schema
    if able.logprobs is False:
        for name in ("logprobs", "top_logprobs"):
            arguments.pop(name, None)
    if _takes_no_tools(able):
        messages = without_tool_messages(messages)
        if request.tools and arguments.get("tool_choice") != "none" and schema is None:
            messages, schema = said_last(messages, offer(request.tools)), call_schema(request.tools)
            arguments["response_format"] = response_format(schema)
        for name in ("tools", "tool_choice"):
            arguments.pop(name, None)
    elif request.tools:
        _offer_tools(arguments, messages, able)
    if schema is not None:
        messages = _hold(messages, arguments, schema, able, tier)
    return messages, arguments


def response_format(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """A schema in the form of the OpenAI chat API."""
    name = str(schema.get("title", "answer"))
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}


def said_last(messages: Sequence[BaseMessage], wish: str) -> list[BaseMessage]:
    """Messages with a wish at the end, so that what comes before can stay in a prefix cache."""
    *before, last = messages
    if not isinstance(last, HumanMessage):
        return [*before, last, HumanMessage(wish + _CUE)]
    if not isinstance(last.content, str):
        return [*before, HumanMessage([*last.content, {"type": "text", "text": wish}])]
    if last.content.endswith(_CUE):
        return [*before, HumanMessage(f"{last.content.removesuffix(_CUE)}\n{wish}{_CUE}")]
    return [*before, HumanMessage(f"{last.content}\n\n{wish}")]


def _hold(
    messages: list[BaseMessage],
    arguments: dict[str, Any],
    schema: dict[str, Any],
    able: Capabilities,
    tier: Tier,
) -> list[BaseMessage]:
    """The messages, with the schema where it is heeded."""
    disabling = "tools" in arguments and able.tools_with_schema is False
    if able.json_schema is not False and not disabling:
        return messages
    del arguments["response_format"]
    if able.structured_outputs and not disabling:
        own = getattr(tier.model, "extra_body", None) or {}
        arguments["extra_body"] = {**own, "structured_outputs": {"json": schema}}
        return messages
    written = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    wish = f"Answer with JSON alone, without marks around it, that follows this JSON schema: {written}"
    return said_last(messages, wish)


def _takes_no_tools(able: Capabilities) -> bool:
    """Whether a call can only be had as an answer under a schema, and can be had as one."""
    refuted = able.auto_tool is False and able.named_tool is False and able.required_tool is False
    return refuted and bool(able.json_schema or able.structured_outputs)


def _offer_tools(arguments: dict[str, Any], messages: Sequence[BaseMessage], able: Capabilities) -> None:
    match arguments.get("tool_choice", "auto"):
        case "auto" if able.auto_tool is False and (able.required_tool or able.named_tool):
            if _answered(messages):
                del arguments["tools"]
                arguments.pop("tool_choice", None)
            else:
                _require(arguments, able)
        case "required" if able.required_tool is False:
            _require(arguments, able)
        case {"function": {"name": name}} if able.named_tool is False:
            arguments["tools"] = [tool for tool in arguments["tools"] if tool["function"]["name"] == name]
            _require(arguments, able)
    if able.server == "vllm" and able.strict_tool and "tools" in arguments:
        arguments["tools"] = [
            {**tool, "function": {"strict": True, **tool["function"]}} for tool in arguments["tools"]
        ]


def _require(arguments: dict[str, Any], able: Capabilities) -> None:
    """Have a tool called, in a way that is not refuted, or else leave it to the model."""
    tools = arguments["tools"]
    if able.required_tool:
        arguments["tool_choice"] = "required"
    elif able.named_tool and len(tools) == 1:
        name = tools[0]["function"]["name"]
        arguments["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        arguments.pop("tool_choice", None)


def _answered(messages: Sequence[BaseMessage]) -> bool:
    """Whether a tool has answered since a person last spoke."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return False
        if isinstance(message, ToolMessage):
            return True
    return False
