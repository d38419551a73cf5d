"""Synthesize: merge the results into one answer, and draw up the ledger."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.errors import GraphBubbleUp

from stellwerk.errors import BudgetError, ConfigurationError, TierError
from stellwerk.ledger import BudgetLine, draw_up
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.chosen import options_of, planning_tier
from stellwerk.nodes.decided import instruction_of
from stellwerk.nodes.lines import are_requests, lines_of
from stellwerk.nodes.observed import end_run
from stellwerk.nodes.pay import afforded
from stellwerk.nodes.run_failure import in_words
from stellwerk.nodes.state import Failure, OrchestratorState, all_results
from stellwerk.nodes.step import Ask, Asking, Step
from stellwerk.nodes.terms import flow_of_run, prices_of
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Call, SubtaskResult, Usage, given_value, is_given
from stellwerk.plan import Plan
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Request, Tier

_log = logging.getLogger(__name__)

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

    prices = prices_of((*ladder, tier))

    def core(state: OrchestratorState) -> Asking:
        with tracer.following(state) if tracer else nullcontext():
            return (yield from merge(state))

    def merge(state: OrchestratorState) -> Asking:
        plan, results = Plan.parse(state["final_plan"]), state["results"]
        calls, failure = list(state.get("calls", ())), state.get("failure")
        over = state.get("budget_ended") or None
        try:
            # Where a failure ends the run, there is nothing to merge for.
            chosen = "join" if failure and failure.get("ended_by") else synthesizer
            answer = _without_model(chosen, state["final_task"], plan, results)
        except GraphBubbleUp:
            raise
        except Exception as error:  # what is done is not lost
            _log.warning("the synthesizer failed; the results are joined", exc_info=True)
            answer, failure = join(state["final_task"], plan, results), _unmerged(failure, error)
        if answer is None:
            merging = planning_tier(tier, ladder, options_of(state))
            call = Call(
                step="synthesize",
                owner="synthesize",
                tier=merging.name,
                usage=Usage(input=0, cached=0, output=0),
                seconds=0.0,
            )
            calls.append(call)
            messages = _messages(state["final_task"], plan, results)
            request = Request(messages=messages, max_tokens=max_tokens, flow=flow_of_run())
            try:
                reply = yield from afforded(state, prices, Ask(merging, request), ())
            except BudgetError as error:
                calls.pop()
                over = error.limit
                answer = join(state["final_task"], plan, results)
            except TierError as error:
                bill_error(calls, error, request)
                answer = join(state["final_task"], plan, results)  # what is done is not lost
            else:
                bill(calls, reply, request)
                answer = reply.text.strip() or join(state["final_task"], plan, results)
        ledger = draw_up(
            calls,
            all_results(state).values(),
            prices,
            large=ladder.largest.name,
            wall_seconds=time.time() - state["started"],
        )
        if limits := state.get("limits"):
            ledger["budget"] = BudgetLine(limits=limits, ended=over)
        if (source := state.get("plan_source")) is not None and "kept" in source:
            ledger["plan_kept"] = source["kept"]
        ended: OrchestratorState = {**state, "failure": failure}
        end_run(ended, ledger)
        if tracer is not None:
            tracer.end(ended, ledger)
        update = {"answer": answer, "ledger": ledger, "calls": calls, "messages": [AIMessage(answer)]}
        return {**update, "failure": failure}

    return Step("synthesize", core)


def join(task: str, plan: Plan, results: Mapping[str, SubtaskResult]) -> str:
    """The results one below the other; what is missing says why."""
    blocks = []
    for subtask in plan.subtasks:
        result = results[subtask.id]
        said = as_text(result["value"]) if result["status"] == "accepted" else _lacking(result)
        if needed := result.get("rests_on"):
            said += f"\n(rests on a substitute for the result of {', '.join(needed)})"
        blocks.append(f"{instruction_of(subtask.instruction, result.get('people'))}\n{said}")
    return "\n\n".join(blocks)


def _lacking(result: SubtaskResult) -> str:
    said = f"(no result: {in_words(result)}{_tried(result)})"
    return f"{said}\n(substitute: {as_text(result['substituted'])})" if "substituted" in result else said


def _tried(result: SubtaskResult) -> str:
    """By whom, how often and where; nothing of one that was never attempted."""
    attempts = result["attempts"]
    if not attempts:
        return ""
    tiers = ", ".join(dict.fromkeys(attempt["tier"] for attempt in attempts))
    many = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    return f"; {many} by {result['worker']} on {tiers}"


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
        merged: object = synthesizer(task, plan, results)
        if not isinstance(merged, str):
            raise ConfigurationError(
                f"the synthesizer gave something of type {type(merged).__name__}; it has to give a text"
            )
        return merged
    if synthesizer == "join" or not all(map(is_given, results.values())):
        return join(task, plan, results)
    if synthesizer == "model":
        if are_requests(lines_of(task)):  # who asks for several things wants the answer to each
            return join(task, plan, results)
        sinks = plan.sinks()
        # One text at the end of the plan is the answer already; a model could only spoil it.
        alone = results[sinks[0].id]["value"] if len(sinks) == 1 else None
        return as_text(alone) if isinstance(alone, Mapping) and isinstance(alone.get("text"), str) else None
    try:
        return synthesizer.format_map({name: _filled_in(result) for name, result in results.items()})
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


def _filled_in(result: SubtaskResult) -> str:
    text = as_text(given_value(result))
    return text if result["status"] == "accepted" else f"{text} (a substitute)"


def _unmerged(failure: Failure | None, error: Exception) -> Failure:
    """The failure, with why the results are not merged."""
    why = f"{type(error).__name__}: {error}"[:1000]
    said = f"the results are joined, as the synthesizer failed ({why})"
    if failure is None:
        return Failure(message=said, missing={}, subtasks={}, synthesizer=why)
    return Failure(**{**failure, "message": f"{failure['message']}; {said}", "synthesizer": why})
