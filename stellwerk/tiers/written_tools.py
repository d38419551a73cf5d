"""Tools for a server that takes none: they are offered in the prompt, and a call is an answer under a schema.

Such an answer is `{"name": ..., "arguments": {...}}`, the form in which workers accept calls in a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage


def call_schema(tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The schema of an answer that is a call of one of the tools, or a text without one."""
    calls = [
        _object(
            name={"type": "string", "enum": [tool["function"]["name"]]},
            arguments=_parameters(tool["function"].get("parameters")),
        )
        for tool in tools
    ]
    return {"title": "call", "anyOf": [*calls, _object(answer={"type": "string"})]}


def offer(tools: Sequence[dict[str, Any]]) -> str:
    """What the prompt says of the tools."""
    lines = ["You may call a tool first. These are the tools:"]
    for tool in tools:
        function = tool["function"]
        parameters = _json(function.get("parameters") or {})
        lines.append(f"- {function['name']}: {function.get('description', '')} Arguments: {parameters}")
    lines.append('To call one, answer {"name": its name, "arguments": {...}}.')
    lines.append('If you need none, answer {"answer": your answer}.')
    return "\n".join(lines)


def without_tool_messages(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Calls and results as text, in the turns of the model and of the user."""
    return list(_as_text(messages))


def _as_text(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    names: dict[str | None, str] = {}
    results: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id, "the tool")
            results.append(f"Result of {name}: {message.text}")
            continue
        if results and isinstance(message, HumanMessage):
            message, results = HumanMessage("\n\n".join([*results, message.text])), []
        elif results:
            yield HumanMessage("\n\n".join(results))
            results = []
        if isinstance(message, AIMessage) and message.tool_calls:
            names |= {call["id"]: call["name"] for call in message.tool_calls}
            written = [
                _json({"name": call["name"], "arguments": call["args"]}) for call in message.tool_calls
            ]
            message = AIMessage("\n".join([message.text, *written] if message.text else written))
        yield message
    if results:
        yield HumanMessage("\n\n".join(results))


def _parameters(schema: dict[str, Any] | None) -> dict[str, Any]:
    # A reference begins at the root, which is another one here.
    if not schema or '"$ref"' in json.dumps(schema):
        return {"type": "object"}
    return {"type": "object", **schema}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
