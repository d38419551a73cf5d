"""Model calls and tool calls that a resumed run does not repeat.

Each is a LangGraph task: the checkpointer stores its result, and when the node runs again from its
beginning, because a tool asked a person or the process died, the result is taken from there. LangGraph
matches a task with its result by the order of the calls. That is safe only because model calls are stored
as well: asked again, a model might want other tools, and one call would get the result, or a person's
approval, of another.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, ToolCall, ToolMessage, message_to_dict, messages_from_dict
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.func import task
from pydantic import ValidationError
from typing_extensions import TypedDict

from stellwerk.errors import ConfigurationError
from stellwerk.outcome import ToolUse, Usage
from stellwerk.tiers.tier import Reply, Request, Tier

_MOST_SAID_OF_ERROR = 1_000  # characters


class RecordedReply(TypedDict):
    """A reply as it is stored: as `Reply`, but plain JSON."""

    message: dict[str, Any]
    text: str
    usage: Usage
    seconds: float
    finish: str


@dataclass(frozen=True, slots=True)
class RecordedAsk:
    """A model call that a step wants made once."""

    tier: Tier
    request: Request

    def do(self) -> Reply:
        """Make the call, or take its stored reply."""
        return _reply(ask_model(self).result())

    async def ado(self) -> Reply:
        """Make the call, or take its stored reply; as `do`."""
        return _reply(await aask_model(self))


@dataclass(frozen=True, slots=True)
class RecordedUse:
    """A tool call that a step wants made once. `limit` is in characters of output."""

    tool: BaseTool
    call: ToolCall
    limit: int

    def do(self) -> ToolUse:
        """Call the tool, or take its stored result.

        Raises:
            ConfigurationError: if the tool is async only.
        """
        return use_tool(self).result()

    async def ado(self) -> ToolUse:
        """Call the tool, or take its stored result."""
        used: ToolUse = await ause_tool(self)
        return used


def failed(call: ToolCall, why: str, seconds: float = 0.0) -> ToolUse:
    """The record of a call that came to nothing; `why` is for the model."""
    return _used(call, why[:_MOST_SAID_OF_ERROR], True, seconds)


@task
def ask_model(ask: RecordedAsk) -> RecordedReply:
    """A model call."""
    return _record(ask.tier.call(ask.request))


async def _aask_model(ask: RecordedAsk) -> RecordedReply:
    return _record(await ask.tier.acall(ask.request))


@task
def use_tool(use: RecordedUse) -> ToolUse:
    """A tool call."""
    started = time.perf_counter()
    try:
        given = use.tool.invoke(_with_type(use.call))
    except GraphBubbleUp:  # a tool that asks a person
        raise
    except NotImplementedError as error:
        raise ConfigurationError(
            f"tool {use.tool.name!r} does not run in a sync graph ({error}); "
            "use ainvoke or astream, or give the tool a sync function"
        ) from error
    except Exception as error:  # a tool must not take siblings down
        return failed(use.call, _why(use.tool, use.call, error), time.perf_counter() - started)
    return _outcome(use, given, time.perf_counter() - started)


async def _ause_tool(use: RecordedUse) -> ToolUse:
    started = time.perf_counter()
    try:
        given = await use.tool.ainvoke(_with_type(use.call))
    except GraphBubbleUp:
        raise
    except Exception as error:
        return failed(use.call, _why(use.tool, use.call, error), time.perf_counter() - started)
    return _outcome(use, given, time.perf_counter() - started)


_aask_model.__name__ = "ask_model"  # so that a run started one way can be resumed the other
aask_model = task(_aask_model)
_ause_tool.__name__ = "use_tool"
ause_tool = task(_ause_tool)


def _record(reply: Reply) -> RecordedReply:
    return RecordedReply(
        message=message_to_dict(reply.message),
        text=reply.text,
        usage=reply.usage,
        seconds=reply.seconds,
        finish=reply.finish,
    )


def _reply(recorded: RecordedReply) -> Reply:
    (message,) = messages_from_dict([recorded["message"]])
    assert isinstance(message, AIMessage)
    return Reply(
        message=message,
        text=recorded["text"],
        usage=recorded["usage"],
        seconds=recorded["seconds"],
        finish=recorded["finish"],
    )


def _with_type(call: ToolCall) -> dict[str, Any]:
    return {**call, "type": "tool_call"}  # or LangChain takes it for the arguments


def _outcome(use: RecordedUse, given: object, seconds: float) -> ToolUse:
    if not isinstance(given, ToolMessage):
        why = f"{use.tool.name} gave a {type(given).__name__}, which a worker cannot use; go on without it"
        return failed(use.call, why, seconds)
    text = _text(given)
    used = _used(use.call, text[: use.limit], given.status == "error", seconds)
    if len(text) > use.limit:
        used["characters"] = len(text)
    return used


def _used(call: ToolCall, output: str, has_failed: bool, seconds: float) -> ToolUse:
    # A lone surrogate is a str that no checkpoint and no server takes.
    output = output.encode(errors="replace").decode()
    return ToolUse(
        id=call["id"] or "",
        name=call["name"],
        args=call["args"],
        output=output,
        failed=has_failed,
        seconds=seconds,
    )


def _text(message: ToolMessage) -> str:
    """The text of a tool's output; parts that are not text, such as images, are left out."""
    if isinstance(message.content, str):
        return message.content
    parts = (part if isinstance(part, str) else part.get("text") for part in message.content)
    return "\n".join(part for part in parts if part)


def _why(tool: BaseTool, call: ToolCall, error: Exception) -> str:
    if isinstance(error, ValidationError):
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False)[:5]
        )
        return (
            f"{tool.name} does not take {json.dumps(call['args'], ensure_ascii=False)[:200]} ({wrong}); "
            f"its arguments are {json.dumps(tool.args, ensure_ascii=False, default=str)}"
        )
    return f"{tool.name} failed ({type(error).__name__}: {error}); change the arguments, or go on without it"
