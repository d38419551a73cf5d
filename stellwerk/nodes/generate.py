"""Generate: ask the tier for an answer, or for a better one."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage

from stellwerk.errors import ContextOverflowError, TierError
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.fit import check_fit
from stellwerk.nodes.prompts import repair_messages, worker_messages
from stellwerk.nodes.recorded import RecordedAsk
from stellwerk.nodes.state import Draft, WorkerState
from stellwerk.nodes.step import Ask, Step, Work, Working
from stellwerk.nodes.tools import asks_for_tools, exchange, exchanges, repeats, use_tools
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
    schema = worker.schema_for(brief) if worker.rails.constrain else None
    request = Request(messages=messages, schema=schema, max_tokens=worker.max_tokens)
    try:
        if worker.rails.fit:
            yield from check_fit(tier, request)
        if worker.tools and step == "generate":
            reply = yield from _with_tools(worker, tier, request, calls, brief)
        else:
            if worker.reasoning and step == "generate":
                request = yield from _reasoned(worker, tier, request, calls, brief)
            reply = yield from _billed(worker, step, Ask(tier, request), calls, brief)
    except TierError as error:
        reason = Reason.CONTEXT if isinstance(error, ContextOverflowError) else Reason.TIER
        detail = str(error)
        if step == "repair":  # what was wrong with the answer stays the reason for its rejection
            reason, detail = Reason(state["verdict"]["reason"]), state["verdict"].get("detail", "")
        # Its value: a checkpoint holds plain JSON, and LangGraph is about to refuse types it does not know.
        draft = Draft(text="", finish="error", reason=reason.value, detail=detail)
    else:
        draft = Draft(text=reply.text, finish=reply.finish, reason="", detail="")
        if worker.rails.refusal and (refusal := reply.message.additional_kwargs.get("refusal")):
            draft = Draft(
                text="", finish=reply.finish, reason=Reason.REFUSAL.value, detail=str(refusal)[:500]
            )
    return {"tier": tier.name, "draft": draft, "calls": calls}


def _reasoned(
    worker: Worker, tier: Tier, request: Request, calls: list[Call], brief: Brief
) -> Generator[Work, Any, Request]:
    """The request after the model has thought aloud, free of the schema, for a limited number of tokens."""
    messages = [*request.messages, HumanMessage(THINK)]
    thinking = replace(request, messages=messages, schema=None, max_tokens=worker.reasoning)
    reply = yield from _billed(worker, "generate", Ask(tier, thinking), calls, brief)
    if not reply.text.strip():
        return request
    return replace(request, messages=[*messages, AIMessage(reply.text), HumanMessage(FINAL)])


def _billed(
    worker: Worker,
    step: Literal["generate", "repair"],
    ask: Ask | RecordedAsk,
    calls: list[Call],
    brief: Brief,
) -> Generator[Work, Any, Reply]:
    """The reply to a call, which is added to the calls of the attempt."""
    if brief.exchange is not None:
        brief.exchange.messages, brief.exchange.answer = ask.request.messages, None
    usage = Usage(input=0, cached=0, output=0)
    call = Call(step=step, owner=worker.name, tier=ask.tier.name, usage=usage, seconds=0.0)
    calls.append(call)
    try:
        reply: Reply = yield ask
    except TierError as error:
        call["error"] = str(error)
        raise
    call["usage"], call["seconds"] = reply.usage, reply.seconds
    if brief.exchange is not None:
        brief.exchange.answer = reply.text
    return reply


def _with_tools(
    worker: Worker, tier: Tier, request: Request, calls: list[Call], brief: Brief
) -> Generator[Work, Any, Reply]:
    """The reply of a model that may call tools first.

    While it may, it is not held to the schema: under a grammar llama.cpp can write no tool call.
    """
    messages = [*request.messages]
    for turn in range(worker.max_tool_rounds):
        open_request = replace(request, messages=[*messages], schema=None, tools=worker.tool_schemas)
        reply = yield from _billed(worker, "generate", RecordedAsk(tier, open_request), calls, brief)
        asking = asks_for_tools(worker, reply.message)
        if asking is None:
            if _is_final(worker, reply):
                return reply
            if reply.text.strip():
                messages += [reply.message, HumanMessage(FINAL)]
            break
        if asking is not reply.message and repeats(asking, calls):
            break  # a model that writes its calls as text rarely sees that it has had the results
        calls[-1]["tools"] = used = yield from use_tools(worker, asking, turn)
        messages += exchange(asking, used)
    final = RecordedAsk(tier, replace(request, messages=messages))
    return (yield from _billed(worker, "generate", final, calls, brief))


def _is_final(worker: Worker, reply: Reply) -> bool:
    """Whether an answer that was not held to the schema follows it anyway."""
    if worker.narrow or reply.finish == "length":  # only the tier can hold an answer to a narrower schema
        return False
    try:
        worker.output.model_validate(json.loads(reply.text))
    except (ValueError, RecursionError):
        return False
    return True
