"""Logs of OpenAI's chat API: requests with their responses, or chats, as for fine-tuning.

A row is `{"request": {...}, "response": {...}}`, or `{"messages": [...], "response": {...}}`, or
`{"messages": [...]}`, in which each message of the assistant is a call. Names of fields are those of
https://platform.openai.com/docs/api-reference/chat: `messages`, `model`, `tools`, `response_format`,
`metadata`, `user` of a request; `id`, `created`, `model`, `choices`, `usage` of a response. Beside these,
`call_site`, `thread_id`, `user_id`, `run_id`, `timestamp` and `seconds` (or `latency_ms`) are looked for in
the row and its `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stellwerk.conversion.foreign_call import ForeignCall, cost, parsed
from stellwerk.conversion.imports.chat import UnreadableError, is_broken, mapping, messages_of, turns, uses_of
from stellwerk.conversion.imports.parsed import (
    ImportOptions,
    Parsed,
    first,
    id_of,
    judged,
    moment,
    number,
    origin_at,
    text,
    tokens,
    trace_id,
)
from stellwerk.conversion.reply import definitions, form_of
from stellwerk.outcome import Reason

_CHAT = "chat"
_THREADS = ("thread_id", "conversation_id", "session_id")


def parse(row: Mapping[str, Any], options: ImportOptions) -> Parsed:
    """The calls of a row.

    Raises:
        UnreadableError: if it holds no chat.
    """
    request = _body(row.get("request")) or row
    response = _body(first(row, "response", "completion"))
    if not response and "choices" in row:
        response = row
    if "messages" not in request:
        raise UnreadableError("it has no messages, neither by itself nor in its request")
    told = {**mapping(request.get("metadata")), **mapping(row.get("metadata")), **_known(row)}
    thread, origin = origin_at(
        row,
        options,
        user=first(told, "user_id", "user") or first(request, "user", "safety_identifier"),
        thread=first(told, *_THREADS),
    )
    call = ForeignCall(
        trace_id="",
        call_site=text(told.get("call_site")) or options.call_site or _CHAT,
        model=text(first(request, "model") or response.get("model")) or options.model or "unknown",
        prompt=(),
        offered=definitions(request),
        form=form_of(request)[0],
        thread_id=thread,
        origin=origin,
        seconds=number(first(told, "seconds", "latency")) or (number(told.get("latency_ms")) or 0.0) / 1000,
        run_id=text(first(told, "run_id", "trace_id")),
    )
    ended = moment(first(told, "timestamp", "created_at")) or moment(response.get("created"))
    if ended is not None:
        call.ended_at = ended
    found = _answered(row, request, response, call, options) if response else _chat(row, request, call)
    return Parsed(calls=found, metadata={each.trace_id: told for each in found})


def _answered(
    row: Mapping[str, Any],
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    call: ForeignCall,
    options: ImportOptions,
) -> list[ForeignCall]:
    call.prompt = messages_of(request["messages"])
    named = first(response, "id") or first(row, "id", "custom_id")
    call.trace_id = (
        id_of("openai", named) if text(named) else trace_id("openai", dict(request), dict(response))
    )
    call.run_id = call.run_id or call.trace_id
    used = mapping(response.get("usage"))
    cached = mapping(used.get("prompt_tokens_details")).get("cached_tokens")
    call.usage = tokens(used.get("prompt_tokens"), used.get("completion_tokens"), cached)
    call.usd = cost(call.usage, call.model, "openai", call.seconds, options.prices)
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        if response.get("error") is None:
            raise UnreadableError("its response has neither choices nor an error")
        call.reason, call.detail = Reason.TIER.value, text(mapping(response["error"]).get("type")) or "error"
        return [call]
    choice = mapping(choices[0])
    answers = list(turns(messages_of([{"role": "assistant", **mapping(choice.get("message"))}])))
    answer = answers[0].answer
    call.answer, call.uses = str(answer.text) or None, uses_of(answer)
    if call.form is not None:
        call.value = parsed(call.answer)
    return [judged(call, choice.get("finish_reason"), broken=is_broken(answer))]


def _chat(row: Mapping[str, Any], request: Mapping[str, Any], call: ForeignCall) -> list[ForeignCall]:
    messages, found = messages_of(request["messages"]), []
    named = text(first(row, "id", "custom_id"))
    told = request["messages"]
    for turn in turns(messages):
        each = ForeignCall(
            # Without a name, a chat that goes on is a row for each of its answers; each is one call.
            trace_id=trace_id(
                "chat", named or None, told[: turn.number + 1] if isinstance(told, list) else told
            ),
            call_site=call.call_site,
            model=call.model,
            prompt=turn.prompt,
            answer=str(turn.answer.text) or None,
            uses=turn.uses,
            offered=call.offered,
            form=call.form,
            value=parsed(str(turn.answer.text)) if call.form is not None else None,
            thread_id=call.thread_id,
            origin=call.origin,
            ended_at=call.ended_at,
        )
        each.run_id = call.run_id or each.trace_id
        found.append(judged(each, None, broken=is_broken(turn.answer)))
    if not found:
        raise UnreadableError("no message in it is the assistant's")
    return found


def _body(value: Any) -> Mapping[str, Any]:
    told = mapping(value)
    return mapping(told.get("body")) or told


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        *_THREADS,
        *("call_site", "user_id", "user", "run_id", "trace_id"),
        *("timestamp", "created_at", "seconds", "latency", "latency_ms"),
    )
    return {name: row[name] for name in names if row.get(name) is not None}
