"""Synthesize: merge the results into one answer, and draw up the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from stellwerk.errors import ConfigurationError, TierError
from stellwerk.ledger import draw_up
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.lines import are_requests, lines_of
from stellwerk.nodes.state import OrchestratorState
from stellwerk.nodes.step import Ask, Asking, Step
from stellwerk.nodes.terms import flow_of_run
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Call, SubtaskResult, Usage
from stellwerk.plan import Plan
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Request, Tier

Merge = Callable[[str, Plan, Mapping[str, SubtaskResult]], str]
"""A plain function that merges: gets the task, the plan and the results by subtask."""

Synthesizer = Merge | str
"""`"model"`, `"join"`, a template such as `"Revenue: {a}"` over subtask ids, or a function."""


def synthesize_step(
    ladder: Ladder,
    tier: Tier,
    synthesizer: Synthesizer,
    max_tokens: int,
    tracer: Tracer | None = None,
) -> Step:
    """The last node: an answer, the ledger, and the answer as a message.

    Raises:
        ConfigurationError: if the synthesizer is text, but no template.
    """
    if isinstance(synthesizer, str) and synthesizer not in ("model", "join") and "{" not in synthesizer:
        raise ConfigurationError(
            f"the synthesizer {synthesizer!r} is neither 'model' nor 'join' nor a template over subtask ids, "
            "such as 'Revenue: {a}'"
        )

    def core(state: OrchestratorState) -> Asking:
        with tracer.following(state) if tracer else nullcontext():
            return (yield from merge(state))

    def merge(state: OrchestratorState) -> Asking:
        plan, results = Plan.parse(state["final_plan"]), state["results"]
        calls = list(state.get("calls", ()))
        answer = _without_model(synthesizer, state["final_task"], plan, results)
        if answer is None:
            call = Call(
                step="synthesize",
                owner="synthesize",
                tier=tier.name,
                usage=Usage(input=0, cached=0, output=0),
                seconds=0.0,
            )
            calls.append(call)
            messages = _messages(state["final_task"], plan, results)
            request = Request(messages=messages, max_tokens=max_tokens, flow=flow_of_run())
            try:
                reply = yield Ask(tier, request)
            except TierError as error:
                bill_error(calls, error, request)
                answer = join(state["final_task"], plan, results)  # what is done is not lost
            else:
                bill(calls, reply, request)
                answer = reply.text.strip() or join(state["final_task"], plan, results)
        ledger = draw_up(
            calls,
            results.values(),
            {tier.name: tier.price for tier in ladder} | {tier.name: tier.price},
            large=ladder.largest.name,
            wall_seconds=time.time() - state["started"],
        )
        if tracer is not None:
            tracer.end(state, ledger)
        return {"answer": answer, "ledger": ledger, "calls": calls, "messages": [AIMessage(answer)]}

    return Step("synthesize", core)


def join(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> str:
    """The results one below the other; what is missing says why."""
    blocks = []
    for subtask in plan.subtasks:
        result = results[subtask.id]
        said = as_text(result["value"]) if result["status"] == "accepted" else f"(no result: {_why(result)})"
        blocks.append(f"{subtask.instruction}\n{said}")
    return "\n\n".join(blocks)


def as_text(value: Any) -> str:
    """A worker's value as a person reads it: its `text` or `answer` where it has one."""
    if isinstance(value, Mapping):
        for field in ("text", "answer", "label", "value"):
            if isinstance(value.get(field), str):
                unit = value.get("unit") if field in ("answer", "value") else None
                return f"{value[field]} {unit}" if unit else str(value[field])
        if isinstance(value.get("answer"), list):
            said = ", ".join(str(item) for item in value["answer"])
            return f"{said} {value['unit']}" if value.get("unit") else said
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _without_model(
    synthesizer: Synthesizer, task: str, plan: Plan, results: Mapping[str, SubtaskResult]
) -> str | None:
    if callable(synthesizer):
        return synthesizer(task, plan, results)
    if synthesizer == "join" or any(result["status"] != "accepted" for result in results.values()):
        return join(task, plan, results)
    if synthesizer == "model":
        if are_requests(lines_of(task)):  # who asks for several things wants the answer to each
            return join(task, plan, results)
        sinks = plan.sinks()
        # One text at the end of the plan is the answer already; a model could only spoil it.
        alone = results[sinks[0].id]["value"] if len(sinks) == 1 else None
        return as_text(alone) if isinstance(alone, Mapping) and isinstance(alone.get("text"), str) else None
    try:
        return synthesizer.format_map({name: as_text(result["value"]) for name, result in results.items()})
    except (LookupError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"the synthesizer {synthesizer!r} does not fit the plan ({type(error).__name__}: {error}); "
            f"its subtasks: {', '.join(results)}"
        ) from error


def _messages(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> list[Any]:
    return [
        SystemMessage("You merge finished results into one short answer. Use only the results given."),
        HumanMessage(
            f"Task:\n{task}\n\nResults:\n{join(task, plan, results)}\n\n"
            "Write the answer to the task. Keep every figure as it is.\nAnswer:"
        ),
    ]


def _why(result: SubtaskResult) -> str:
    return f"{result.get('reason', result['status'])}: {result.get('detail', '')}".rstrip(": ")
