"""Is a reply whole: a text where one was asked for, JSON that follows its schema, calls of tools that exist?

These are the checks that any program's calls allow. They do not say that a reply is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall

from stellwerk.chat.offered import Offered
from stellwerk.chat.subject import Subject
from stellwerk.nodes.failures import circle, echoes, is_refusal, refuses
from stellwerk.nodes.salvage import salvaged
from stellwerk.nodes.tools import MOST_AT_ONCE
from stellwerk.nodes.written_calls import written_calls
from stellwerk.outcome import Reason, Verdict
from stellwerk.workers.follows_schema import breach

ReplyCheck = Callable[[AIMessage], str | None]
"""Gets a reply, and returns None, or what is wrong with it in a sentence."""

MOST_TURNS = 3  # times that the same calls may be made one after the other before that is a circle
_CUT_OFF = ("length", "max_tokens", "MAX_TOKENS")
_FILTERED = ("content_filter", "refusal", "SAFETY")
_ACCEPTED = Verdict(accepted=True)


def mended(message: AIMessage, offered: Offered) -> AIMessage:
    """The reply with calls of tools that were written as text, or JSON with words around it, put right.

    Nothing is invented: a reply that is neither stays as it is.
    """
    text = str(message.text)
    if offered.tools and not message.tool_calls and not message.invalid_tool_calls:
        names = [tool["function"]["name"] for tool in offered.tools if "function" in tool]
        if written := written_calls(text, names):
            # From the text, so that a reply that is looked at twice keeps its ids.
            calls = [
                ToolCall(name=call["name"], args=call["args"], id=f"call_{number}", type="tool_call")
                for number, call in enumerate(written)
            ]
            return message.model_copy(update={"content": "", "tool_calls": calls})
    if offered.json and not message.tool_calls:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            with suppress(ValueError, RecursionError):
                return message.model_copy(update={"content": json.dumps(salvaged(text), ensure_ascii=False)})
    return message


def judged(
    message: AIMessage,
    offered: Offered,
    subject: Subject,
    messages: Sequence[BaseMessage],
    checks: Sequence[ReplyCheck] = (),
) -> Verdict:
    """Whether a reply can be used.

    Args:
        message: the reply, as `mended` left it.
        offered: what the call offered.
        subject: of the call.
        messages: the prompt, to see a model that turns in circles.
        checks: the program's own.
    """
    verdict = _whole(message, offered, subject, messages)
    if not verdict["accepted"]:
        return verdict
    for check in checks:
        name = getattr(check, "__name__", "check")
        try:
            problem = check(message)
        except Exception as error:  # as in a worker: a check that cannot tell does not accept
            problem = f"{type(error).__name__}: {error}"
        if problem:
            return _rejected(Reason.CHECK, f"{name}: {problem}")
    return verdict


def value_of(message: AIMessage, offered: Offered) -> Any:
    """What a reply amounts to, as JSON: its calls of tools, or its value, or its text."""
    if message.tool_calls:
        return {"calls": [[call["name"], call["args"]] for call in message.tool_calls]}
    text = str(message.text).strip()
    if offered.json:
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def finish_of(message: AIMessage) -> str:
    """Why the model stopped, in its server's words."""
    metadata = message.response_metadata
    return str(metadata.get("finish_reason") or metadata.get("stop_reason") or "stop")


def _whole(
    message: AIMessage, offered: Offered, subject: Subject, messages: Sequence[BaseMessage]
) -> Verdict:
    text, finish = str(message.text), finish_of(message)
    if refusal := message.additional_kwargs.get("refusal"):
        return _rejected(Reason.REFUSAL, f"the model refused: {str(refusal)[:200]!r}")
    if finish in _FILTERED:
        return _rejected(Reason.REFUSAL, f"the answer was stopped ({finish})")
    if finish in _CUT_OFF:
        if turn := circle(text):
            return _circling(turn)
        if offered.tools or offered.json:
            return _rejected(Reason.LENGTH, f"the answer was cut off after {len(text):,} characters")
    if message.tool_calls or message.invalid_tool_calls:
        return _calls(message, offered, subject, messages)
    if offered.tools and offered.tool_choice not in (None, "auto", "none"):
        return _rejected(Reason.SCHEMA, f"a tool had to be called ({offered.tool_choice}), and none was")
    if not message.content:
        return _rejected(Reason.EMPTY, "the answer is empty")
    if not text.strip():  # an image, say
        return _ACCEPTED
    if offered.json:
        return _value(text, offered, subject)
    if is_refusal(text) and text.strip() not in subject.brief.source:
        return _rejected(Reason.REFUSAL, f"the model refused: {text[:200]!r}")
    return _ACCEPTED


def _calls(
    message: AIMessage, offered: Offered, subject: Subject, messages: Sequence[BaseMessage]
) -> Verdict:
    if bad := message.invalid_tool_calls:
        said = str(bad[0]["args"] or "")[:100]
        return _rejected(Reason.NOT_JSON, f"the arguments of {bad[0]['name']} are not JSON: {said!r}")
    if len(message.tool_calls) > MOST_AT_ONCE:
        return _rejected(
            Reason.REPETITION, f"{len(message.tool_calls)} tools called at once; {MOST_AT_ONCE} is the limit"
        )
    known = {tool.name for tool in subject.worker.tools}
    for call in message.tool_calls:
        if call["name"] not in known:
            there = ", ".join(sorted(known)) or "none"
            return _rejected(Reason.SCHEMA, f"there is no tool {call['name'][:64]!r}; tools: {there}")
        if problem := breach(call["args"], subject.worker.parameters.get(call["name"], True), call["name"]):
            return _rejected(Reason.SCHEMA, problem)
    if offered.tool_choice in known and any(
        call["name"] != offered.tool_choice for call in message.tool_calls
    ):
        return _rejected(Reason.SCHEMA, f"{offered.tool_choice} had to be called, and another tool was")
    if _turns(message, messages) >= MOST_TURNS:
        return _rejected(
            Reason.REPETITION, f"{message.tool_calls[0]['name']} is called with the same arguments again"
        )
    return _ACCEPTED


def _turns(message: AIMessage, messages: Sequence[BaseMessage]) -> int:
    """How often the same calls were made one after the other, this reply included."""
    asked, turns = _asked(message), 1
    for before in reversed(messages):
        if isinstance(before, HumanMessage):
            break
        if isinstance(before, AIMessage):
            if _asked(before) != asked:
                break
            turns += 1
    return turns


def _asked(message: AIMessage) -> list[tuple[str, Any]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


def _value(text: str, offered: Offered, subject: Subject) -> Verdict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_refusal(text):
            return _rejected(Reason.REFUSAL, f"the model refused: {text[:200]!r}")
        if turn := circle(text):
            return _circling(turn)
        return _rejected(Reason.NOT_JSON, f"the answer is not JSON: {error}; it begins {text[:60]!r}")
    if offered.schema is None:
        return _ACCEPTED
    if echoes(value, subject.worker.schema):
        return _rejected(Reason.ECHO, "the answer gives the schema back")
    if problem := breach(value, subject.worker.answer_schema, "answer"):
        return _rejected(Reason.SCHEMA, problem)
    if refuses(value, f"{subject.brief.source}\n{subject.brief.instruction}"):
        return _rejected(Reason.REFUSAL, f"the model refused: {text[:200]!r}")
    return _ACCEPTED


def _circling(turn: str) -> Verdict:
    return _rejected(Reason.REPETITION, f"the answer turns in circles, saying {turn[:60]!r} over and over")


def _rejected(reason: Reason, detail: str) -> Verdict:
    return Verdict(accepted=False, reason=reason.value, detail=detail[:1000])
