"""Answers that ended before their end, as `max_tokens` was reached or a filter stepped in."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages.ai import UsageMetadata


def cut_off_or_raise(error: Exception) -> AIMessage:
    """The answer that an exception carries; where it has none, it is raised."""
    if (completion := getattr(error, "completion", None)) is not None and completion.choices:
        return _cut_off(completion)
    raise error


def _cut_off(completion: Any) -> AIMessage:
    # Where an answer to a schema runs into `max_tokens` or is filtered, the OpenAI client raises; the error
    # has the answer.
    choice, usage = completion.choices[0], completion.usage
    metadata: dict[str, Any] = {"finish_reason": choice.finish_reason or "length"}
    if (logprobs := getattr(choice, "logprobs", None)) is not None:
        metadata["logprobs"] = logprobs.model_dump()
    message = AIMessage(choice.message.content or "", response_metadata=metadata)
    if usage is not None:
        details = usage.prompt_tokens_details
        message.usage_metadata = UsageMetadata(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            input_token_details={"cache_read": (details and details.cached_tokens) or 0},
        )
    return message


def without_cut_call(message: AIMessage) -> AIMessage:
    """A message that was cut off, with its last tool call among the invalid ones.

    LangChain closes what is open in the arguments of a streamed call, and makes a whole call of half a one.
    """
    if message.invalid_tool_calls or not message.tool_calls:
        return message
    *whole, cut = message.tool_calls
    bad = InvalidToolCall(
        name=cut["name"],
        args=json.dumps(cut["args"], ensure_ascii=False, default=str),
        id=cut["id"],
        error="the call was cut off",
        type="invalid_tool_call",
    )
    return message.model_copy(update={"tool_calls": whole, "invalid_tool_calls": [bad]})
