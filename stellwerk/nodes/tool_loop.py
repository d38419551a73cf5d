"""Generate, in a worker with tools: one call of the model, and where the run goes from there.

While the model may call tools it is not held to the schema: under a grammar llama.cpp can write no tool
call. What it wants called goes to the tools, each call by itself, and the results come back here; its
answer goes to be verified, or is asked for once more under the schema. So every call of the model is a
step of its own, which a resumed run does not repeat.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    message_to_dict,
    messages_from_dict,
)
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from stellwerk.errors import TierError
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.generate import FINAL, as_draft, billed, no_draft, request_of, unasked
from stellwerk.nodes.prompts import worker_messages
from stellwerk.nodes.state import TimeLeft, ToolWorkerState
from stellwerk.nodes.step import Ask, Step, Working
from stellwerk.nodes.terms import time_left, waiting
from stellwerk.nodes.tools import (
    asks_for_tools,
    exchange,
    known_of,
    plan_calls,
    send_calls,
    was_told,
)
from stellwerk.outcome import Call, PersonDecision, Reason, ToolProblem
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Reply
from stellwerk.worker import Worker

Asked = dict[str, dict[str, Any]]


def tool_loop_step(worker: Worker, ladder: Ladder, *, forgets: bool = False) -> Step:
    """The first node of a worker with tools, to which the run comes back after each round of calls.

    With `forgets`, what people decided when the thread had another input is forgotten.
    """

    def core(state: ToolWorkerState) -> Working:
        if _is_early(state):
            return Command()
        tier = ladder.tier(state.get("tier") or ladder.smallest.name)
        brief = brief_of(state, tier)
        calls, asked = _so_far(worker, state)
        fresh = forgets and "again" not in state
        try:
            messages = [*worker_messages(worker, brief), *_conversation(calls, asked)]
            terms = waiting(state, tier, calls, brief, worker.errors)
            request = request_of(worker, tier, brief, messages, terms)
        except GraphBubbleUp:
            raise
        except Exception as error:  # a worker's own code must not take the attempts before it along
            update = {"tier": tier.name, "draft": unasked(error), "calls": calls}
            return Command(update=update, goto="verify")
        is_open = state.get("again") != "answer" and _rounds(calls) < worker.max_tool_rounds
        if is_open:
            request = replace(request, schema=None, tools=worker.tool_schemas)
        try:
            reply = yield from billed(
                worker, "generate", Ask(tier, request), calls, brief, state.get("terms")
            )
        except TierError as error:
            draft = no_draft(error)
        else:
            if is_open and not _is_final(worker, reply):
                people = [] if fresh else state.get("people") or []
                left = time_left(state.get("terms"), calls, worker.errors)
                command = _onwards(worker, tier.name, reply, calls, asked, people, brief.instruction, left)
                if fresh:
                    return Command(update={**(command.update or {}), "people": [None]}, goto=command.goto)
                return command
            draft = as_draft(worker, brief, reply)
        return Command(update={"tier": tier.name, "draft": draft, "calls": calls}, goto="verify")

    return Step("generate", core)


def _is_early(state: ToolWorkerState) -> bool:
    """Whether calls of the last reply are still under way: one that ends later comes here once more.

    They take different numbers of steps where a person is asked of one, or what came of it is found out.
    """
    uses = state.get("uses") or {}
    wanted = state.get("wanted", ()) if state.get("again") == "tools" else ()
    return any(refused is None and str(number) not in uses for number, refused in enumerate(wanted))


def _so_far(worker: Worker, state: ToolWorkerState) -> tuple[list[Call], Asked]:
    """The calls and replies of this attempt, the results of the last round of tools included."""
    if "again" not in state:  # the attempt begins; what is in the state is from another
        return [], {}
    calls = [*state["calls"]]
    if state["again"] == "tools":
        uses = state.get("uses", {})
        used = [refused or uses[str(number)] for number, refused in enumerate(state["wanted"])]
        calls[-1] = {**calls[-1], "tools": used}
        if _rounds(calls) >= worker.max_tool_rounds:
            calls[-1]["stopped"] = Reason.STEPS.value
    return calls, state["asked"]


def _rounds(calls: Sequence[Call]) -> int:
    return sum("tools" in call for call in calls)


def _conversation(calls: Sequence[Call], asked: Asked) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for place, call in enumerate(calls):
        if (stored := asked.get(str(place))) is not None:
            (message,) = messages_from_dict([stored])
            assert isinstance(message, AIMessage)
            used = call.get("tools")
            messages += exchange(message, used) if used else [message, HumanMessage(FINAL)]
    return messages


def _onwards(
    worker: Worker,
    tier: str,
    reply: Reply,
    calls: list[Call],
    asked: Asked,
    people: Sequence[PersonDecision],
    instruction: str,
    left: TimeLeft | None,
) -> Command[Any]:
    """Where a reply leads that is not the last word: to the tools, or to the answer under the schema."""
    asking, place = asks_for_tools(worker, reply.message), str(len(calls) - 1)
    if asking is None:
        shown = {place: _stored(reply.message)} if reply.text.strip() else {}
        return _answer(tier, calls, {**asked, **shown})
    native = asking is reply.message
    refused, made = plan_calls(worker, asking, calls)
    if all(use is not None and use.get("problem") == ToolProblem.REPEATED for use in refused) and (
        # A model that writes its calls as text rarely sees that it has had the results.
        was_told(calls) or not native
    ):
        calls[-1]["stopped"] = ToolProblem.REPEATED.value
        return _answer(tier, calls, asked)
    update = {
        "tier": tier,
        "calls": calls,
        "asked": {**asked, place: _stored(asking)},
        "wanted": refused,
        "uses": None,
    }
    if made:
        known = known_of(worker, made, calls, people, instruction)
        return Command(update=update, goto=send_calls(worker, made, known, left, native=native))
    return Command(update={**update, "again": "tools"}, goto="generate")


def _answer(tier: str, calls: list[Call], asked: Asked) -> Command[Any]:
    update = {"tier": tier, "calls": calls, "asked": asked, "again": "answer"}
    return Command(update=update, goto="generate")


def _stored(message: AIMessage) -> dict[str, Any]:
    """A reply as JSON; its calls are in the record of the call, with what came of them."""
    metadata = {name: value for name, value in message.response_metadata.items() if name != "logprobs"}
    update = {"tool_calls": [], "invalid_tool_calls": [], "response_metadata": metadata}
    bare = message.model_copy(update=update)
    text = json.dumps(message_to_dict(bare), ensure_ascii=False, default=str)
    # Neither a lone surrogate nor NaN can be in a checkpoint that is JSON.
    stored: dict[str, Any] = json.loads(text.encode(errors="replace"), parse_constant=lambda name: None)
    return stored


def _is_final(worker: Worker, reply: Reply) -> bool:
    """Whether an answer that was not held to the schema follows it anyway."""
    if asks_for_tools(worker, reply.message):
        return False
    if worker.narrow or reply.finish == "length":  # only the tier can hold an answer to a narrower schema
        return False
    try:
        worker.output.model_validate(json.loads(reply.text))
    except Exception:  # `verify` says what is wrong with it
        return False
    return True
