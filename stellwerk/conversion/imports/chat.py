"""Messages as other tools write them, in LangChain's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from stellwerk.conversion.reply import unused
from stellwerk.errors import InputError
from stellwerk.outcome import ToolUse

_ROLES = {
    "system": "system",
    "developer": "system",
    "systemmessage": "system",
    "user": "user",
    "human": "user",
    "humanmessage": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "tool": "tool",
    "function": "tool",
    "toolmessage": "tool",
}
BROKEN = "unreadable_arguments"
"""The one argument of a tool call whose arguments are no JSON object."""


class UnreadableError(InputError):
    """A row is not what its format says."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer in a chat.

    Args:
        number: of the message, from 0.
        prompt: the messages before it.
        answer: it.
        uses: the tool calls in it, with what they gave, where that follows.
    """

    number: int
    prompt: Sequence[BaseMessage]
    answer: AIMessage
    uses: list[ToolUse]


def messages_of(given: Any) -> list[BaseMessage]:
    """Messages: a list of them, a list with one such list, a text, or one message.

    Raises:
        UnreadableError: if it is none of these.
    """
    given = unpacked(given)
    if isinstance(given, str):
        return [HumanMessage(given)]
    if isinstance(given, Mapping):
        inner = given.get("messages", given.get("prompts"))
        return messages_of(inner) if inner is not None else list(_messages(given))
    if isinstance(given, Sequence):
        if len(given) == 1 and isinstance(given[0], list):  # LangChain's batches of one
            return messages_of(given[0])
        return [message for each in given for message in _messages(each)]
    raise UnreadableError(f"there are no messages, but {type(given).__name__}")


def turns(messages: Sequence[BaseMessage]) -> Iterator[Turn]:
    """Each answer of the model in a chat."""
    for number, message in enumerate(messages):
        if isinstance(message, AIMessage):
            uses = uses_of(message)
            for later in messages[number + 1 :]:
                if isinstance(later, AIMessage):
                    break
                if isinstance(later, ToolMessage):
                    for use in uses:
                        if use["id"] == later.tool_call_id:
                            use["output"], use["failed"] = str(later.text), later.status == "error"
            yield Turn(number, messages[:number], message, uses)


def uses_of(message: AIMessage) -> list[ToolUse]:
    """The tool calls of an answer."""
    return [unused(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls]


def is_broken(message: AIMessage) -> bool:
    """Whether a tool call of an answer cannot be read."""
    return any(BROKEN in call["args"] for call in message.tool_calls)


def unpacked(value: Any) -> Any:
    """A value that was stored as JSON inside of JSON, else as it is."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, or an empty one in place of anything else."""
    value = unpacked(value)
    return value if isinstance(value, Mapping) else {}


def _messages(given: Any) -> Iterator[BaseMessage]:
    if isinstance(given, str):
        yield HumanMessage(given)
        return
    if isinstance(given, Sequence) and len(given) == 2 and all(isinstance(part, str) for part in given):
        given = {"role": given[0], "content": given[1]}  # as LangChain takes them
    if not isinstance(given, Mapping):
        raise UnreadableError(f"a message is a {type(given).__name__}")
    told = given
    if isinstance(inner := given.get("kwargs", given.get("data")), Mapping) and "role" not in given:
        named = given.get("id") if given.get("type") == "constructor" else given.get("type")
        kind = named[-1] if isinstance(named, list) and named else named
        told = {"role": kind, **inner}  # as LangChain serialises them
    role = _ROLES.get(str(told.get("role") or told.get("type") or "").lower())
    if role is None:
        found = str(told.get("role") or told.get("type"))[:40]
        raise UnreadableError(
            f"a message has the role {found!r}, which is none of {', '.join(set(_ROLES.values()))}"
        )
    yield from _of_role(role, told)


def _of_role(role: str, told: Mapping[str, Any]) -> Iterator[BaseMessage]:
    text, asked, gave = _parts(told.get("content"))
    if role == "system":
        yield SystemMessage(text)
    elif role == "assistant":
        calls = [*asked, *map(_call, _list(told.get("tool_calls")))]
        if isinstance(old := told.get("function_call"), Mapping):
            calls.append(_call(old))
        yield AIMessage(text, tool_calls=calls)
    elif role == "tool":
        failed = told.get("status") == "error" or told.get("is_error") is True
        yield _tool(told.get("tool_call_id") or told.get("name"), text, failed=failed)
    else:
        yield from gave
        if text or not gave:
            yield HumanMessage(text)


def _parts(content: Any) -> tuple[str, list[ToolCall], list[ToolMessage]]:
    """The text of a content, and the tool calls and results that Anthropic's API has in it."""
    if content is None or isinstance(content, str):
        return content or "", [], []
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False, default=str), [], []
    texts, asked, gave = [], list[ToolCall](), list[ToolMessage]()
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = part.get("type")
            if kind == "tool_use":
                asked.append(_call({**part, "args": part.get("input")}))
            elif kind == "tool_result":
                text, _, _ = _parts(part.get("content"))
                gave.append(_tool(part.get("tool_use_id"), text, failed=part.get("is_error") is True))
            elif isinstance(said := part.get("text"), str):
                texts.append(said)
    return "\n".join(texts), asked, gave


def _call(given: Any) -> ToolCall:
    told = mapping(given)
    inner = mapping(told.get("function")) or told
    args = unpacked(inner.get("arguments", inner.get("args", {})))
    if args in (None, ""):
        args = {}
    if not isinstance(args, Mapping):
        args = {BROKEN: str(args)}
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise UnreadableError("a tool call has no name")
    return ToolCall(name=name, args=dict(args), id=str(told.get("id") or name))


def _tool(use: Any, text: str, *, failed: bool) -> ToolMessage:
    return ToolMessage(text, tool_call_id=str(use or ""), status="error" if failed else "success")


def _list(value: Any) -> list[Any]:
    value = unpacked(value)
    return value if isinstance(value, list) else []
