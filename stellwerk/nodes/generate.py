"""Generate: ask the tier for an answer, or for a better one."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import HumanMessage

from stellwerk.errors import ContextOverflowError, TierError, TierTimeoutError, TierUnavailableError
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.prompts import repair_messages, worker_messages
from stellwerk.nodes.recorded import RecordedAsk
from stellwerk.nodes.state import Draft, WorkerState
from stellwerk.nodes.step import Ask, Step, Work, Working
from stellwerk.nodes.terms import waiting
from stellwerk.nodes.tools import asks_for_tools, exchange, exchanges, repeats, use_tools
from stellwerk.outcome import Call, Reason, Usage
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.worker import Brief, Worker

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
    request = Request(
        messages=messages,
        schema=worker.schema_for(brief),
        max_tokens=worker.max_tokens,
        **waiting(state, tier, calls),
    )
    try:
        if worker.tools and step == "generate":
            reply = yield from _with_tools(worker, tier, request, calls, brief)
        else:
            reply = yield from _billed(worker, step, Ask(tier, request), calls, brief)
    except TierError as error:
        reason = _reason(error)
        detail = str(error)
        if step == "repair":  # what was wrong with the answer stays the reason for its rejection
            reason, detail = Reason(state["verdict"]["reason"]), state["verdict"].get("detail", "")
        # Its value: a checkpoint holds plain JSON, and LangGraph is about to refuse types it does not know.
        draft = Draft(text="", finish="error", reason=reason.value, detail=detail)
    else:
        draft = Draft(text=reply.text, finish=reply.finish, reason="", detail="")
    return {"tier": tier.name, "draft": draft, "calls": calls}


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
        bill_error(calls, error, ask.request)
        raise
    bill(calls, reply, ask.request)
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
