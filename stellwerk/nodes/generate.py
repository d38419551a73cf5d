"""Generate: ask the tier for an answer, or for a better one."""

from __future__ import annotations

from typing import Literal

from stellwerk.errors import ContextOverflowError, TierError
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.prompts import repair_messages, worker_messages
from stellwerk.nodes.state import Draft, WorkerState
from stellwerk.nodes.step import Ask, Asking, Step
from stellwerk.outcome import Call, Reason, Usage
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Request
from stellwerk.worker import Worker


def generate_step(worker: Worker, ladder: Ladder) -> Step:
    """The first node of a worker."""

    def core(state: WorkerState) -> Asking:
        return (yield from _draft(worker, ladder, state, "generate"))

    return Step("generate", core)


def repair_step(worker: Worker, ladder: Ladder) -> Step:
    """The node that asks once more, with the error."""

    def core(state: WorkerState) -> Asking:
        return (yield from _draft(worker, ladder, state, "repair"))

    return Step("repair", core)


def _draft(worker: Worker, ladder: Ladder, state: WorkerState, step: Literal["generate", "repair"]) -> Asking:
    brief = brief_of(state)
    tier = ladder.tier(state.get("tier") or ladder.smallest.name)
    if step == "repair":
        messages = repair_messages(worker, brief, state["draft"]["text"], state["verdict"].get("detail", ""))
        earlier = state["calls"]
    else:
        messages = worker_messages(worker, brief)
        earlier = []
    request = Request(messages=messages, schema=worker.schema_for(brief), max_tokens=worker.max_tokens)
    call = Call(
        step=step, owner=worker.name, tier=tier.name, usage=Usage(input=0, cached=0, output=0), seconds=0.0
    )
    try:
        reply = yield Ask(tier, request)
    except TierError as error:
        reason = Reason.CONTEXT if isinstance(error, ContextOverflowError) else Reason.TIER
        call["error"] = detail = str(error)
        if step == "repair":  # what was wrong with the answer stays the reason for its rejection
            reason, detail = Reason(state["verdict"]["reason"]), state["verdict"].get("detail", "")
        # Its value: a checkpoint holds plain JSON, and LangGraph is about to refuse types it does not know.
        draft = Draft(text="", finish="error", reason=reason.value, detail=detail)
    else:
        call["usage"], call["seconds"] = reply.usage, reply.seconds
        draft = Draft(text=reply.text, finish=reply.finish, reason="", detail="")
    return {"tier": tier.name, "draft": draft, "calls": [*earlier, call]}
