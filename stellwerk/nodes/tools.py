"""Tools: what a model may look up or do before it answers."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

from stellwerk.nodes.recorded import RecordedUse, failed
from stellwerk.nodes.step import Work
from stellwerk.nodes.written_calls import written_calls
from stellwerk.outcome import Call, ToolUse
from stellwerk.worker import Worker

MOST_AT_ONCE = 16  # tool calls in one reply; a reply that asks for more is a runaway


def asks_for_tools(worker: Worker, message: AIMessage) -> AIMessage | None:
    """The reply with its tool calls, also where the model wrote them into its text; None if it has none."""
    if message.tool_calls or message.invalid_tool_calls:
        return message
    written = written_calls(message.text, {tool.name for tool in worker.tools})
    return AIMessage("", tool_calls=written) if written else None


def repeats(message: AIMessage, calls: Iterable[Call]) -> bool:
    """Whether all that a reply asks for was asked for before in the attempt."""
    made = [(use["name"], use["args"]) for call in calls for use in call.get("tools", ())]
    return all((call["name"], call["args"]) in made for call in message.tool_calls)


def use_tools(worker: Worker, message: AIMessage, turn: int) -> Generator[Work, Any, list[ToolUse]]:
    """Make the tool calls of a reply, one after the other: each may have side effects on the next."""
    used: list[ToolUse] = []
    tools = {tool.name: tool for tool in worker.tools}
    for call, wrong in _calls(message, turn):
        name = call["name"]
        if wrong:
            used.append(failed(call, wrong))
        elif name not in tools:
            used.append(failed(call, f"there is no tool {name[:64]!r}; the tools are: {', '.join(tools)}"))
        elif len(used) >= MOST_AT_ONCE:
            why = f"no more than {MOST_AT_ONCE} calls are made at once; ask again for what is still needed"
            used.append(failed(call, why))
        else:
            used.append((yield RecordedUse(tools[name], call, worker.max_tool_output)))
    return used


def exchange(message: AIMessage, used: Iterable[ToolUse]) -> list[BaseMessage]:
    """A reply that asked for tools, and what they gave, as the model is shown both."""
    calls = [ToolCall(name=use["name"], args=use["args"], id=use["id"]) for use in used]
    # As the calls were made, not as they were written: servers refuse a history with arguments that are no
    # JSON or a call without an id.
    clean = message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": []})
    return [clean, *(_shown(use) for use in used)]


def exchanges(calls: Iterable[Call]) -> list[BaseMessage]:
    """The exchanges of an attempt, from its record."""
    return [
        message for call in calls if (used := call.get("tools")) for message in exchange(AIMessage(""), used)
    ]


def _shown(use: ToolUse) -> ToolMessage:
    text = use["output"] or "(no output)"
    if (characters := use.get("characters")) is not None:
        text += (
            f"\n(cut off: the output has {characters:,} characters, and {len(use['output']):,} are shown; "
            "ask for less)"
        )
    return ToolMessage(
        text, tool_call_id=use["id"], name=use["name"], status="error" if use["failed"] else "success"
    )


def _calls(message: AIMessage, turn: int) -> Generator[tuple[ToolCall, str | None], None, None]:
    """The calls of a reply, each with what is wrong with it, if anything."""
    for number, call in enumerate(message.tool_calls):
        name, wrong = call["name"], None
        args = call["args"]
        try:
            json.dumps(args, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:  # NaN, a lone surrogate: no checkpoint and no server takes them
            args, wrong = {}, f"the arguments of {name} are not JSON ({error}); send them as a JSON object"
        yield ToolCall(name=name, args=args, id=call["id"] or f"call_{turn}_{number}"), wrong
    for number, bad in enumerate(message.invalid_tool_calls, len(message.tool_calls)):
        name = bad["name"] or ""
        said = (bad["args"] or "")[:200].encode(errors="replace").decode()
        wrong = f"the arguments of {name or 'the call'} are not JSON: {said!r}; send one JSON object"
        yield ToolCall(name=name, args={}, id=bad["id"] or f"call_{turn}_{number}"), wrong
