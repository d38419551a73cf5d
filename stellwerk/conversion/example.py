"""An example: one call of a model as conversion looks at it, whichever program made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stellwerk.trace import StoredAttempt

Message = Mapping[str, Any]
"""A message as in the OpenAI chat API: `role`, `content`, and `tool_calls`, `tool_call_id` or `name`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """What was said to a model, what it answered, and what came of it.

    Args:
        trace_id: of the trace: 32 hexadecimal digits.
        call_site: where in a program the call is made: the worker, or the node of a foreign graph.
        prompt: the messages that the model got.
        answer: its text; None where it only called tools.
        tool_calls: what it called: mappings with `name` and `args`.
        value: the parsed answer as JSON, where there is one.
        tools: names of the tools that it was offered.
        tier: where it ran; of a foreign program, the name of its model.
        accepted: whether the checks took the answer; of a foreign program, whether the call gave one.
        succeeded: how the whole run ended, where that is known.
        score: what feedback or the run's reward says, from 0 to 1, where there is any.
        input: tokens read.
        output: tokens written.
        usd: what it cost; None where there is no price.
        seconds: of model time.
        origin: keyed hash of the person and thread that it came from, or empty.
        created_at: when it ended.
    """

    trace_id: str
    call_site: str
    prompt: Sequence[Message]
    answer: str | None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    value: Any = None
    tools: Sequence[str] = ()
    tier: str = ""
    accepted: bool = True
    succeeded: bool | None = None
    score: float | None = None
    input: int = 0
    output: int = 0
    usd: float | None = None
    seconds: float = 0.0
    origin: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def asked(self) -> str:
        """The text that differs from call to call: of the last message that is not the model's own."""
        return asked_in(self.prompt)


def asked_in(prompt: Sequence[Message]) -> str:
    """The text of the last message that is not the model's own; empty if there is none."""
    said = [message for message in prompt if message.get("role") != "assistant"]
    return text_of(said[-1]) if said else ""


def text_of(message: Message) -> str:
    """The text of a message; of content in parts, those that are text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str) and part)
    return ""


def example_of(
    attempt: StoredAttempt, *, origin: str = "", succeeded: bool | None = None, score: float | None = None
) -> Example | None:
    """The example in a stored attempt; None where what was said is not kept."""
    if attempt["prompt"] is None:
        return None
    context = attempt["context"]
    return Example(
        trace_id=attempt["trace_id"],
        call_site=attempt["worker"],
        prompt=attempt["prompt"],
        answer=attempt["answer"],
        tool_calls=[{"name": use["name"], "args": use.get("args", {})} for use in attempt["tools"]],
        value=attempt["value"],
        tools=list(context["tools"]) if context is not None else [],
        tier=attempt["tier"],
        accepted=attempt["accepted"],
        succeeded=succeeded,
        score=score,
        input=attempt["input"],
        output=attempt["output"],
        usd=attempt["usd"],
        seconds=attempt["seconds"],
        origin=origin,
        created_at=attempt["created_at"],
    )
