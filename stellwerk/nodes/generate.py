"""Generate: ask the tier for an answer, or for a better one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.errors import GraphBubbleUp

from stellwerk.errors import (
    BudgetError,
    ContextOverflowError,
    TierError,
    TierTimeoutError,
    TierUnavailableError,
)
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.fit import check_fit
from stellwerk.nodes.own_code import own_failure
from stellwerk.nodes.pay import paid
from stellwerk.nodes.prompts import repair_messages, worker_messages
from stellwerk.nodes.results_cache import ResultsCache, is_used
from stellwerk.nodes.state import Draft, Terms, WorkerState
from stellwerk.nodes.step import Ask, Step, Work, Working
from stellwerk.nodes.terms import check_left, waiting
from stellwerk.nodes.tools import exchanges
from stellwerk.nodes.verify import judge
from stellwerk.outcome import Call, Reason, Usage
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.worker import Brief, Worker

THINK = "First think about the job in a few plain sentences. Do not give the answer's JSON yet."
FINAL = "Now give the final answer to the job.\nAnswer:"


def generate_step(worker: Worker, ladder: Ladder, cache: ResultsCache | None = None) -> Step:
    """The first node of a worker."""

    def core(state: WorkerState) -> Working:
        if cache is not None:
            tier = ladder.tier(state.get("tier") or ladder.smallest.name)
            brief = brief_of(state, tier)
            kept = (yield from cache.find(worker, tier, brief)) if is_used(cache, brief) else None
            draft = Draft(text=kept or "", finish="stop", reason="", detail="", cached=True)
            if kept is not None and judge(worker, brief, draft)[1]["accepted"]:
                return {"tier": tier.name, "draft": draft, "calls": []}
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
    tier = ladder.tier(state.get("tier") or ladder.smallest.name)
    brief = brief_of(state, tier)
    calls = [*state["calls"]] if step == "repair" else []
    try:
        if step == "repair":
            problem = state["verdict"].get("detail", "")
            messages = repair_messages(worker, brief, state["draft"]["text"], problem)
            messages[-2:-2] = exchanges(calls)  # what the tools gave came before the answer that was refused
        else:
            messages = worker_messages(worker, brief)
        request = request_of(worker, tier, brief, messages, waiting(state, tier, calls, brief, worker.errors))
    except GraphBubbleUp:
        raise
    except Exception as error:  # a worker's own code must not take the attempts before it along
        return {"tier": tier.name, "draft": unasked(error), "calls": calls}
    try:
        if worker.reasoning and step == "generate":
            request = yield from _reasoned(worker, tier, request, calls, brief, state.get("terms"))
        reply = yield from billed(worker, step, Ask(tier, request), calls, brief, state.get("terms"))
    except TierError as error:
        draft = no_draft(error)
        if step == "repair":  # what was wrong with the answer stays the reason for its rejection
            draft["reason"], draft["detail"] = state["verdict"]["reason"], state["verdict"].get("detail", "")
            draft.pop("passing", None)
    else:
        draft = as_draft(worker, brief, reply)
    return {"tier": tier.name, "draft": draft, "calls": calls}


def request_of(
    worker: Worker, tier: Tier, brief: Brief, messages: Sequence[BaseMessage], terms: Mapping[str, Any]
) -> Request:
    """A call for the worker's answer, under its schema; `terms` say how long it may wait."""
    return Request(
        messages=messages,
        schema=worker.schema_for(brief) if worker.rails_for(brief).constrain else None,
        max_tokens=worker.max_tokens,
        # Only where it was seen to work: some hosted models answer it with an error.
        logprobs=bool(tier.capabilities and tier.capabilities.logprobs),
        **terms,
    )


def as_draft(worker: Worker, brief: Brief, reply: Reply) -> Draft:
    """An answer that is to be checked."""
    refusal = reply.message.additional_kwargs.get("refusal")
    if refusal and worker.rails_for(brief).refusal:
        return Draft(text="", finish=reply.finish, reason=Reason.REFUSAL.value, detail=str(refusal)[:500])
    return Draft(text=reply.text, finish=reply.finish, reason="", detail="")


def no_draft(error: TierError) -> Draft:
    """The draft where a tier gave no answer."""
    # Its value: a checkpoint holds plain JSON, and LangGraph is about to refuse types it does not know.
    draft = Draft(text="", finish="error", reason=_reason(error).value, detail=str(error))
    if error.passing:
        draft["passing"] = True
    return draft


def unasked(error: Exception) -> Draft:
    """The draft where the worker's own code raised before a model was asked."""
    verdict = own_failure(error)
    draft = Draft(text="", finish="error", reason=verdict["reason"], detail=verdict["detail"])
    if "passing" in verdict:
        draft["passing"] = True
    return draft


def _reason(error: TierError) -> Reason:
    match error:
        case ContextOverflowError():
            return Reason.CONTEXT
        case BudgetError():
            return Reason.BUDGET
        case TierTimeoutError():
            return Reason.TIMEOUT
        case TierUnavailableError():
            return Reason.UNAVAILABLE
        case _:
            return Reason.TIER


def _reasoned(
    worker: Worker, tier: Tier, request: Request, calls: list[Call], brief: Brief, terms: Terms | None
) -> Generator[Work, Any, Request]:
    """The request after the model has thought aloud, free of the schema, for a limited number of tokens."""
    messages = [*request.messages, HumanMessage(THINK)]
    thinking = replace(request, messages=messages, schema=None, max_tokens=worker.reasoning)
    reply = yield from billed(worker, "generate", Ask(tier, thinking), calls, brief, terms)
    if not reply.text.strip():
        return request
    return replace(request, messages=[*messages, AIMessage(reply.text), HumanMessage(FINAL)])


def billed(
    worker: Worker,
    step: Literal["generate", "repair"],
    ask: Ask,
    calls: list[Call],
    brief: Brief,
    terms: Terms | None,
) -> Generator[Work, Any, Reply]:
    """The reply to a call, which is added to the calls of the attempt.

    Raises:
        TierError: if there is none, or if a budget does not allow the call.
    """
    if worker.rails_for(brief).fit:
        yield from check_fit(ask.tier, ask.request)
    check_left(terms, ask, calls)
    if brief.purse is None:
        return (yield from _answered(worker, step, ask, calls, brief))
    return (yield from paid(brief.purse, ask, calls, _answered(worker, step, ask, calls, brief)))


def _answered(
    worker: Worker, step: Literal["generate", "repair"], ask: Ask, calls: list[Call], brief: Brief
) -> Generator[Work, Any, Reply]:
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
