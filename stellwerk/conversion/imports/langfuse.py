"""Observations and traces of Langfuse, as its API and its exports give them.

Names of fields are those of https://api.reference.langfuse.com (`Observation`, `TraceWithFullDetails` and
`Score`), in either spelling: `id`, `traceId`, `type`, `name`, `startTime`, `endTime`, `model`, `input`,
`output`, `modelParameters`, `metadata`, `level`, `statusMessage`, `usageDetails` or `usage`, `costDetails`
or `calculatedTotalCost`; of a trace `userId`, `sessionId`, `observations` and `scores`, with `name`,
`value`, `source` and `comment`. An observation of type `GENERATION` is a call; others are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage

from stellwerk.conversion.call_site import CALL_SITE, nodes_of
from stellwerk.conversion.foreign_call import ForeignCall, cost, parsed
from stellwerk.conversion.imports.chat import (
    UnreadableError,
    is_broken,
    mapping,
    messages_of,
    unpacked,
    uses_of,
)
from stellwerk.conversion.imports.parsed import (
    ImportOptions,
    Parsed,
    between,
    first,
    id_of,
    judged,
    kind_in,
    moment,
    number,
    origin_at,
    text,
    tokens,
    trace_id,
)
from stellwerk.conversion.reply import definitions, form_of
from stellwerk.conversion.running import thread_of
from stellwerk.outcome import Reason, Usage
from stellwerk.trace import FeedbackSource, FeedbackTrace

_SOURCES: Mapping[str, FeedbackSource] = {"ANNOTATION": "person", "API": "person", "EVAL": "judge"}
_CAPITAL = re.compile(r"_([a-z])")


def parse(row: Mapping[str, Any], options: ImportOptions) -> Parsed:
    """The calls of an observation or a trace, and its scores.

    Raises:
        UnreadableError: if it is neither.
    """
    told = _camel(row)
    inside = told.get("observations")
    if not isinstance(inside, list):
        return _observation(told, {}, options)
    found = Parsed()
    for each in inside:
        if isinstance(each, Mapping):  # else the API left it at the ids
            inner = _observation(_camel(each), told, options)
            found.calls += inner.calls
            found.metadata |= inner.metadata
    scores = told.get("scores")
    for score in scores if isinstance(scores, list) else ():
        if (said := _score(_camel(mapping(score)), told, options)) is not None:
            found.feedback.append(said)
    return found


def _observation(told: Mapping[str, Any], trace: Mapping[str, Any], options: ImportOptions) -> Parsed:
    kind = told.get("type")
    if not isinstance(kind, str):
        raise UnreadableError("it has no type")
    if kind.upper() != "GENERATION":
        return Parsed()
    metadata = {**mapping(trace.get("metadata")), **mapping(told.get("metadata"))}
    asked = {**mapping(told.get("modelParameters")), **mapping(told.get("input"))}
    start, end = moment(told.get("startTime")), moment(told.get("endTime"))
    thread, origin = origin_at(
        told,
        options,
        user=first(told, "userId") or trace.get("userId") or metadata.get("user_id"),
        thread=first(told, "sessionId") or trace.get("sessionId") or thread_of(metadata),
    )
    name = id_of("langfuse", told.get("id"))
    path = nodes_of(metadata.get("langgraph_checkpoint_ns")) or nodes_of(metadata.get("langgraph_node"))
    call = ForeignCall(
        trace_id=name,
        call_site=text(metadata.get(CALL_SITE))
        or "/".join(path)
        or options.call_site
        or text(first(told, "promptName", "name"))
        or "model",
        model=text(first(told, "model", "providedModelName") or metadata.get("ls_model_name"))
        or options.model
        or "unknown",
        prompt=messages_of(first(told, "input") or []),
        offered=definitions(asked),
        form=form_of(asked)[0],
        usage=_usage(told),
        seconds=between(start, end),
        run_id=text(told.get("traceId")) or text(trace.get("id")) or name,
        thread_id=thread,
        origin=origin,
    )
    call.ended_at = end or start or call.ended_at
    _answer(call, told)
    paid = number(mapping(told.get("costDetails")).get("total")) or number(
        first(told, "calculatedTotalCost", "totalCost")
    )
    call.usd = cost(call.usage, call.model, text(metadata.get("ls_provider")), call.seconds, options.prices)
    if paid and call.model not in options.prices:
        call.usd = paid
    return Parsed(calls=[call], metadata={name: metadata})


def _answer(call: ForeignCall, told: Mapping[str, Any]) -> None:
    if told.get("level") == "ERROR":
        call.reason, call.detail = Reason.TIER.value, kind_in(told.get("statusMessage"))
        return
    given = unpacked(told.get("output"))
    if given is None:
        raise UnreadableError("it has no output")
    if isinstance(given, Mapping) and not {"role", "type", "kwargs", "messages", "choices"} & given.keys():
        given = (
            {"role": "assistant", **given} if "content" in given else {"role": "assistant", "content": given}
        )
    if isinstance(given, Mapping) and isinstance(choices := given.get("choices"), list) and choices:
        given = {"role": "assistant", **mapping(mapping(choices[0]).get("message"))}
    answers = [AIMessage(given)] if isinstance(given, str) else messages_of(given)
    answer = next((each for each in reversed(answers) if isinstance(each, AIMessage)), None)
    if answer is None:
        raise UnreadableError("its output is no answer")
    call.answer, call.uses = str(answer.text) or None, uses_of(answer)
    if call.form is not None:
        call.value = parsed(call.answer)
    judged(
        call, first(mapping(told.get("metadata")), "finish_reason", "stop_reason"), broken=is_broken(answer)
    )


def _usage(told: Mapping[str, Any]) -> Usage | None:
    details, usage = mapping(told.get("usageDetails")), mapping(told.get("usage"))
    # Langfuse counts the kinds of tokens apart, so that those cached are no part of `input`.
    names = ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
    cached = int(number(first(details, *names)) or 0)
    read = number(first(details, "input", "prompt_tokens", "input_tokens"))
    if read is not None:
        return tokens(read + cached, first(details, "output", "completion_tokens", "output_tokens"), cached)
    return tokens(
        first(usage, "input", "promptTokens", "inputTokens") or told.get("promptTokens"),
        first(usage, "output", "completionTokens", "outputTokens") or told.get("completionTokens"),
    )


def _score(told: Mapping[str, Any], trace: Mapping[str, Any], options: ImportOptions) -> FeedbackTrace | None:
    value, name = number(told.get("value")), text(told.get("name"))
    if value is None:
        return None
    user, session = trace.get("userId"), trace.get("sessionId")
    thread, origin = origin_at(trace, options, user=user, thread=session)
    about = text(told.get("observationId"))
    return FeedbackTrace(
        feedback_id=trace_id("langfuse-score", text(told.get("id")) or [trace.get("id"), name, about]),
        trace_id=id_of("langfuse", about) if about else None,
        run_id=text(trace.get("id")),
        thread_id=thread,
        score=value,
        comment=text(told.get("comment")) or None,
        who=name or None,
        source=_SOURCES.get(text(told.get("source")).upper(), "person"),
        created_at=moment(first(told, "timestamp", "createdAt")) or datetime.now(UTC),
        origin=origin,
    )


def _camel(row: Mapping[str, Any]) -> dict[str, Any]:
    """Names of fields as the API spells them."""
    return {_CAPITAL.sub(lambda found: found[1].upper(), name): value for name, value in row.items()}
