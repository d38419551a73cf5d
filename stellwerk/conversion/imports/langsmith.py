"""Runs of LangSmith, as its API, its client and its exports give them.

Names of fields are those of https://docs.langchain.com/langsmith/run-data-format and of
`langsmith.schemas.Run` of langsmith 0.15: `id`, `name`, `run_type`, `inputs`, `outputs`, `extra` (with
`metadata` and `invocation_params`), `error`, `status`, `start_time`, `end_time`, `parent_run_id`,
`trace_id`, `child_runs`, `prompt_tokens`, `completion_tokens`, `prompt_token_details`, `total_cost`. A run
of type `llm` is a call; its id is the id of the trace, so that what `TraceRecorder` recorded as well is the
same trace. A run without a parent says how it ended. Inputs and outputs may be JSON inside of JSON, as in
exports to Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from stellwerk.conversion.call_site import CALL_SITE, named, nodes_of
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
)
from stellwerk.conversion.reply import definitions, form_of
from stellwerk.conversion.running import task_of, thread_of
from stellwerk.outcome import Reason, Usage
from stellwerk.trace import RunTrace

_DEEPEST = 50  # of runs inside of runs


def parse(row: Mapping[str, Any], options: ImportOptions, depth: int = 0) -> Parsed:
    """The calls of a run and of those inside it, and how the whole run ended.

    Raises:
        UnreadableError: if it is no run.
    """
    kind = row.get("run_type")
    if not isinstance(kind, str):
        raise UnreadableError("it has no run_type")
    found, metadata = Parsed(), _metadata(row)
    if kind == "llm":
        call = _call(row, metadata, options)
        found.calls.append(call)
        found.metadata[call.trace_id] = metadata
    elif not row.get("parent_run_id") and depth == 0:
        found.runs.append(_run(row, metadata, options))
    inside = row.get("child_runs")
    if isinstance(inside, list) and depth < _DEEPEST:
        for each in inside:
            inner = parse(mapping(each), options, depth + 1)
            found.calls += inner.calls
            found.metadata |= inner.metadata
    return found


def _call(row: Mapping[str, Any], metadata: Mapping[str, Any], options: ImportOptions) -> ForeignCall:
    extra = mapping(row.get("extra"))
    asked = mapping(extra.get("invocation_params"))
    inputs, outputs = mapping(row.get("inputs")), mapping(row.get("outputs"))
    start, end = moment(row.get("start_time")), moment(row.get("end_time"))
    thread, origin = origin_at(row, options, user=metadata.get("user_id"), thread=thread_of(metadata))
    name = id_of("langsmith", row.get("id"))
    call = ForeignCall(
        trace_id=name,
        call_site=_site(row, metadata, options),
        model=text(metadata.get("ls_model_name") or first(asked, "model", "model_name"))
        or options.model
        or "unknown",
        prompt=messages_of(inputs),
        offered=definitions(asked) or definitions(inputs),
        form=form_of(mapping(extra.get("options")), asked, inputs)[0],
        seconds=between(start, end),
        run_id=text(row.get("trace_id")) or name,
        thread_id=thread,
        origin=origin,
    )
    call.ended_at = end or start or call.ended_at
    if row.get("error"):
        call.reason, call.detail = Reason.TIER.value, kind_in(row["error"])
        return call
    answer = next(_answers(outputs), None)
    if answer is None:
        raise UnreadableError("its outputs hold no answer")
    call.answer, call.uses = str(answer.text) or None, uses_of(answer)
    if call.form is not None:
        call.value = parsed(call.answer)
    call.usage = _usage(row, outputs, answer)
    provider = text(metadata.get("ls_provider"))
    told = number(row.get("total_cost"))
    call.usd = cost(call.usage, call.model, provider, call.seconds, options.prices)
    if told and call.model not in options.prices:
        call.usd = told
    return judged(call, _finish(outputs), broken=is_broken(answer))


def _run(row: Mapping[str, Any], metadata: Mapping[str, Any], options: ImportOptions) -> RunTrace:
    start = moment(row.get("start_time"))
    if start is None:
        raise UnreadableError("it has no start_time")
    thread, origin = origin_at(row, options, user=metadata.get("user_id"), thread=thread_of(metadata))
    failed = bool(row.get("error")) or row.get("status") == "error"
    return RunTrace(
        run_id=text(row.get("trace_id")) or text(row.get("id")),
        thread_id=thread,
        task=task_of(unpacked(row.get("inputs"))),
        outcome="failed" if failed else "running" if row.get("status") == "pending" else "ok",
        detail=kind_in(row["error"]) if row.get("error") else None,
        started_at=start,
        updated_at=moment(row.get("end_time")) or start,
        origin=origin,
    )


def _metadata(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**mapping(row.get("metadata")), **mapping(mapping(row.get("extra")).get("metadata"))}


def _site(row: Mapping[str, Any], metadata: Mapping[str, Any], options: ImportOptions) -> str:
    path = nodes_of(metadata.get("langgraph_checkpoint_ns")) or nodes_of(metadata.get("langgraph_node"))
    agent = text(metadata.get("lc_agent_name"))
    if agent and len(path) == 1:
        path = (agent, *path)
    own = named(row.get("name")) if not str(row.get("name")).startswith("Chat") else ""
    return text(metadata.get(CALL_SITE)) or "/".join(path) or options.call_site or own or "model"


def _answers(outputs: Mapping[str, Any]) -> Iterator[AIMessage]:
    """The answer, wherever a model, a wrapper of a client, or somebody by hand has put it."""
    for given in (*_generations(outputs), outputs.get("choices"), outputs.get("messages"), outputs):
        given = unpacked(given)
        if isinstance(given, list) and given:
            given = given[-1]
        told = mapping(given)
        inner = unpacked(first(told, "message", "output"))
        for each in (inner, told):
            yield from _answer(each)
        if isinstance(told.get("text"), str):
            yield AIMessage(told["text"])


def _answer(given: Any) -> Iterator[AIMessage]:
    if isinstance(given, str):
        yield AIMessage(given)
    elif isinstance(given, Mapping) and {"role", "type", "kwargs", "content"} & given.keys():
        told = given if {"role", "type", "kwargs"} & given.keys() else {"role": "assistant", **given}
        yield from (each for each in messages_of(told) if isinstance(each, AIMessage))


def _generations(outputs: Mapping[str, Any]) -> Iterator[Any]:
    given = unpacked(outputs.get("generations"))
    while isinstance(given, list) and given:
        given = given[0]
    yield given


def _usage(row: Mapping[str, Any], outputs: Mapping[str, Any], answer: BaseMessage) -> Usage | None:
    cached = mapping(row.get("prompt_token_details")).get("cache_read")
    told = mapping(mapping(outputs.get("llm_output")).get("token_usage")) or mapping(outputs.get("usage"))
    inner = mapping(outputs.get("usage_metadata"))
    return (
        tokens(row.get("prompt_tokens"), row.get("completion_tokens"), cached)
        or tokens(
            first(told, "prompt_tokens", "input_tokens"), first(told, "completion_tokens", "output_tokens")
        )
        or tokens(inner.get("input_tokens"), inner.get("output_tokens"))
    )


def _finish(outputs: Mapping[str, Any]) -> Any:
    generation = mapping(next(_generations(outputs)))
    message = mapping(mapping(generation.get("message")).get("kwargs"))
    told = {**mapping(generation.get("generation_info")), **mapping(message.get("response_metadata"))}
    choices = outputs.get("choices")
    if isinstance(choices, list) and choices:
        told |= mapping(choices[0])
    return first(told, "finish_reason", "stop_reason")
