"""What a vLLM server's answer holds besides what `ChatOpenAI` takes out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.outputs import ChatGeneration
from pydantic import BaseModel, ValidationError


def keep_reasoning(generation: ChatGeneration, part: Any) -> None:
    """Keep a message's or a delta's reasoning text, which older servers call `reasoning_content`."""
    for name in ("reasoning", "reasoning_content"):
        text = part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)
        if isinstance(text, str) and text and isinstance(generation.message, AIMessage):
            generation.message.additional_kwargs["reasoning_content"] = text
            return


def keep_parsed(generation: ChatGeneration, text: str, options: Mapping[str, Any]) -> None:
    """Keep an answer as an object of the class that was asked for, for `with_structured_output`."""
    form = options.get("response_format")
    if isinstance(form, type) and issubclass(form, BaseModel):
        with suppress(ValidationError):  # then `with_structured_output` tells of the whole message
            generation.message.additional_kwargs["parsed"] = form.model_validate_json(text)


def messages_of(response: Any) -> list[Any]:
    """The messages of the OpenAI client's answer; none where it is not one, of which `ChatOpenAI` tells."""
    choices = getattr(response, "choices", None)
    return [choice.message for choice in choices] if isinstance(choices, list) else []


def take_broken_calls(message: Any) -> list[InvalidToolCall]:
    """Take out the tool calls whose arguments are JSON but no object, at which `ChatOpenAI` raises.

    vLLM holds arguments to their schema only where the tool has `strict: true`.
    """
    broken = []
    for call in [*(getattr(message, "tool_calls", None) or ())]:
        arguments: Any = getattr(getattr(call, "function", None), "arguments", None)
        try:
            value = json.loads(arguments)
        except (TypeError, ValueError, RecursionError):
            continue  # `ChatOpenAI` takes it for an invalid call
        if not isinstance(value, dict):
            why = f"the arguments are a {type(value).__name__}, not an object"
            name, id_ = call.function.name, call.id
            broken.append(
                InvalidToolCall(name=name, args=arguments, id=id_, error=why, type="invalid_tool_call")
            )
            message.tool_calls.remove(call)
    return broken
