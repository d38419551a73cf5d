"""Prompts and answers as JSON, in the form of OpenTelemetry's conventions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_ROLES = {"human": "user", "ai": "assistant"}


def prompt(messages: Iterable[BaseMessage]) -> str:
    """The value of `gen_ai.input.messages`."""
    return as_json([_message(message) for message in messages])


def answer(message: AIMessage, finish: str) -> str:
    """The value of `gen_ai.output.messages`."""
    return as_json([{**_message(message), "finish_reason": finish}])


def as_json(value: Any) -> str:
    """A value as text that any exporter can encode."""
    return json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace").decode()


def _message(message: BaseMessage) -> dict[str, Any]:
    if isinstance(message, ToolMessage):
        given = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return {"role": "tool", "parts": [given]}
    parts: list[dict[str, Any]] = [{"type": "text", "content": message.text}] if message.text else []
    if isinstance(message, AIMessage):
        parts += [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            for call in message.tool_calls
        ]
    return {"role": _ROLES.get(message.type, message.type), "parts": parts}
