"""Generate: ask the tier for an answer, or for a better one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from stellwerk.errors import ContextOverflowError, TierError, TierTimeoutError, TierUnavailableError
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.fit import check_fit
from stellwerk.nodes.prompts import repair_messages, worker_messages
from stellwerk.nodes.state import Draft, WorkerState
from stellwerk.nodes.step import Ask, Step, Work, Working
from stellwerk.nodes.terms import waiting
from stellwerk.nodes.tools import exchanges
from stellwerk.outcome import Call, Reason, Usage
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.worker import Brief, Worker

THINK = "First think about the job in a few plain sentences. Do not give the answer's JSON yet."
FINAL = "Now give the final answer to the job.\nAnswer:"


def generate_step(worker: Worker, ladder: Ladder) -> Step:
    """The first node of a worker."""

    def core(state: WorkerState) -> Working:
        return (yield from _draft(worker, ladder, state, "generate"))

    return Step("generate", core)


def repair_step(worker: Worker, ladder: Ladder) -> Step:
    """The node that asks once more, with the error."""

    def core(state: WorkerState) -> Working:
        return (yield from _draft(worker, ladder, state, "repair"))

    return Step("repair", core)


def _draft(
    worker: Worker, ladder: Ladder, state: WorkerState, step: Literal["generate", "repair"]
) -> Working:
    brief = brief_of(state)
    tier = ladder.tier(state.get("tier") or ladder.smallest.name)
    if step == "repair":
        calls = [*state["calls"]]
        messages = repair_messages(worker, brief, state["draft"]["text"], state["verdict"].get("detail", ""))
        messages[-2:-2] = exchanges(calls)  # what the tools gave came before the answer that was refused
    else:
        calls = []
        messages = worker_messages(worker, brief)
    request = request_of(worker, tier, brief, messages, waiting(state, tier, calls))
    try:
        if worker.reasoning and step == "generate":
            request = yield from _reasoned(worker, tier, request, calls, brief)
        reply = yield from billed(worker, step, Ask(tier, request), calls, brief)
    except TierError as error:
        draft = no_draft(error)
        if step == "repair":  # what was wrong with the answer stays the reason for its rejection
            draft["reason"], draft["detail"] = state["verdict"]["reason"], state["verdict"].get("detail", "")
    else:
        draft = as_draft(worker, reply)
    return {"tier": tier.name, "draft": draft, "calls": calls}


def request_of(
    worker: Worker, tier: Tier, brief: Brief, messages: Sequence[BaseMessage], terms: Mapping[str, Any]
) -> Request:
    """A call for the worker's answer, under its schema; `terms` say how long it may wait."""
    return Request(
        messages=messages,
        schema=worker.schema_for(brief) if worker.rails.constrain else None,
        max_tokens=worker.max_tokens,
        # Only where it was seen to work: some hosted models answer it with an error.
        logprobs=bool(tier.capabilities and tier.capabilities.logprobs),
        **terms,
    )


def as_draft(worker: Worker, reply: Reply) -> Draft:
    """An answer that is to be checked."""
    if worker.rails.refusal and (refusal := reply.message.additional_kwargs.get("refusal")):
        return Draft(text="", finish=reply.finish, reason=Reason.REFUSAL.value, detail=str(refusal)[:500])
    return Draft(text=reply.text, finish=reply.finish, reason="", detail="")


def no_draft(error: TierError) -> Draft:
    """The draft where a tier gave no answer."""
    # Its value: a checkpoint holds plain JSON, and LangGraph is about to refuse types it does not know.
    return Draft(text="", finish="error", reason=_reason(error).value, detail=str(error))


def _reason(error: TierError) -> Reason:
    match error:
        case ContextOverflowError():
            return Reason.CONTEXT
        case TierTimeoutError():
            return Reason.TIMEOUT
        case TierUnavailableError():
            return Reason.UNAVAILABLE
        case _:
            return Reason.TIER


def _reasoned(
    worker: Worker, tier: Tier, request: Request, calls: list[Call], brief: Brief
) -> Generator[Work, Any, Request]:
    """The request after the model has thought aloud, free of the schema, for a limited number of tokens."""
    messages = [*request.messages, HumanMessage(THINK)]
    thinking = replace(request, messages=messages, schema=None, max_tokens=worker.reasoning)
    reply = yield from billed(worker, "generate", Ask(tier, thinking), calls, brief)
    if not reply.text.strip():
        return request
    return replace(request, messages=[*messages, AIMessage(reply.text), HumanMessage(FINAL)])


def billed(
    worker: Worker,
    step: Literal["generate", "repair"],
    ask: Ask,
    calls: list[Call],
    brief: Brief,
) -> Generator[Work, Any, Reply]:
    """The reply to a call, which is added to the calls of the attempt."""
    if worker.rails.fit:
        yield from check_fit(ask.tier, ask.request)
    if brief.exchange is not None:
        brief.exchange.messages, brief.exchange.answer = ask.request.messages, None
    usage = Usage(input=0, cached=0, output=0)
    call = Call(step=step, owner=worker.name, tier=ask.tier.name, usage=usage, seconds=0.0)
    calls.append(call)
    try:
        reply: Reply = yield ask
    except TierError as error:
        bill_error(calls, error, ask.request)
        raise
    bill(calls, reply, ask.request)
    if brief.exchange is not None:
        brief.exchange.answer = reply.text
    return reply
