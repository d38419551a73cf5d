"""Execute: run every subtask of the plan as soon as its own inputs are there.

Every subtask is called at once, in topological order, and waits inside for the futures of its inputs.
LangGraph matches a `@task` call with its stored result by name and order of call; launching subtasks
as they become ready would change that order from run to run, and on resume hand one subtask the
result of another, without an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.func import task
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Interrupt

from stellwerk.document import Document
from stellwerk.errors import StellwerkError
from stellwerk.nodes.route import last_attempt
from stellwerk.nodes.state import OrchestratorState, SubtaskState
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Reason, SubtaskResult
from stellwerk.plan import Plan, Subtask
from stellwerk.trace import Exchange
from stellwerk.worker import Brief

# Subtasks past this many wait outside their graph: thousands of half-run graphs cost more in garbage
# collection than they gain, and no plan made by a model comes near it.
IN_FLIGHT = 256

SubtaskGraph = CompiledStateGraph[Any, Any, Any, Any]


@task
def run_subtask(
    graph: SubtaskGraph,
    subtask: Subtask,
    documents: Sequence[Document],
    needed: Mapping[str, Any],
    exchange: Exchange | None,
) -> SubtaskResult:
    """One subtask, as soon as the futures of its inputs are done."""
    inputs = {name: _own(name, future.result()) for name, future in needed.items()}
    if skipped := _skip(subtask, inputs):
        return skipped
    try:
        state = graph.invoke(_input(subtask), context=_brief(subtask, documents, inputs, exchange))
    except GraphBubbleUp:
        raise
    except Exception as error:
        return _broken(subtask, error)
    return _result(subtask, cast("SubtaskState", state))


async def _arun_subtask(
    graph: SubtaskGraph,
    subtask: Subtask,
    documents: Sequence[Document],
    needed: Mapping[str, Any],
    exchange: Exchange | None,
    gate: asyncio.Semaphore,
) -> SubtaskResult:
    """One subtask, as soon as the futures of its inputs are done."""
    inputs = {name: _own(name, await future) for name, future in needed.items()}
    if skipped := _skip(subtask, inputs):
        return skipped
    async with gate:
        try:
            state = await graph.ainvoke(_input(subtask), context=_brief(subtask, documents, inputs, exchange))
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _broken(subtask, error)
    return _result(subtask, cast("SubtaskState", state))


_arun_subtask.__name__ = "run_subtask"  # so that a run started one way can be resumed the other
arun_subtask = task(_arun_subtask)


def execute_node(
    subtask_graph: SubtaskGraph, tracer: Tracer | None = None
) -> Runnable[OrchestratorState, dict[str, Any]]:
    """The node that runs a plan.

    Its functions name the compiled subtask graph, so LangGraph draws that graph inside the node.
    """

    # LangGraph looks for the subtask graph in these two functions, and no further.
    def execute(state: OrchestratorState) -> dict[str, Any]:
        exchange = tracer.begin(state) if tracer else None
        documents = state.get("documents", ())
        futures: dict[str, Any] = {}
        outcomes: list[SubtaskResult | BaseException] = []
        with tracer.following(state) if tracer else nullcontext():
            for subtask in Plan.parse(state["final_plan"]).in_order():
                needed = _needed(subtask, futures)
                futures[subtask.id] = run_subtask(subtask_graph, subtask, documents, needed, exchange)
            for future in futures.values():
                try:
                    outcomes.append(future.result())
                except GraphInterrupt as interrupt:
                    outcomes.append(interrupt)
            return _collect(futures, outcomes, exchange)

    async def aexecute(state: OrchestratorState) -> dict[str, Any]:
        exchange = tracer.begin(state) if tracer else None
        gate = asyncio.Semaphore(IN_FLIGHT)
        documents = state.get("documents", ())
        futures: dict[str, Any] = {}
        with tracer.following(state) if tracer else nullcontext():
            for subtask in Plan.parse(state["final_plan"]).in_order():
                needed = _needed(subtask, futures)
                futures[subtask.id] = arun_subtask(subtask_graph, subtask, documents, needed, exchange, gate)
            return _collect(
                futures, await asyncio.gather(*futures.values(), return_exceptions=True), exchange
            )

    return RunnableLambda(execute, aexecute, name="execute")


def _needed(subtask: Subtask, futures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: futures[name] for name in subtask.depends_on}


def _input(subtask: Subtask) -> dict[str, Any]:
    return {"subtask": subtask.model_dump(mode="json"), "attempts": []}


def _brief(
    subtask: Subtask,
    documents: Sequence[Document],
    inputs: Mapping[str, SubtaskResult],
    exchange: Exchange | None,
) -> Brief:
    values = {name: result["value"] for name, result in inputs.items()}
    own = replace(exchange) if exchange else None
    return Brief(instruction=subtask.instruction, documents=documents, inputs=values, exchange=own)


def _skip(subtask: Subtask, inputs: Mapping[str, SubtaskResult]) -> SubtaskResult | None:
    missing = [name for name, result in inputs.items() if result["status"] != "accepted"]
    if not missing:
        return None
    detail = f"needs {', '.join(missing)}, which gave no result"
    return SubtaskResult(
        id=subtask.id,
        worker=subtask.worker,
        status="skipped",
        value=None,
        attempts=[],
        reason=Reason.DEPENDENCY.value,
        detail=detail,
    )


def _broken(subtask: Subtask, error: Exception) -> SubtaskResult:
    return SubtaskResult(
        id=subtask.id,
        worker=subtask.worker,
        status="failed",
        value=None,
        attempts=[],
        reason=Reason.WORKER.value,
        detail=f"{type(error).__name__}: {error}"[:1000],
    )


def _result(subtask: Subtask, state: SubtaskState) -> SubtaskResult:
    attempts = state.get("attempts") or []
    verdict = state.get("verdict")
    if verdict is not None and verdict["accepted"]:
        return SubtaskResult(
            id=subtask.id,
            worker=subtask.worker,
            status="accepted",
            value=state["value"],
            attempts=[*attempts, last_attempt(state)],
        )
    failed = SubtaskResult(
        id=subtask.id, worker=subtask.worker, status="failed", value=None, attempts=attempts
    )
    if verdict is not None:
        failed["reason"] = verdict.get("reason", "rejected")
        failed["detail"] = verdict.get("detail", "")
    return failed


def _own(name: str, result: SubtaskResult) -> SubtaskResult:
    """The result, if it is that subtask's: LangGraph gives a stored one to whatever is called in its place.

    Raises:
        StellwerkError: if the run was started by a version that called subtasks in another order.
    """
    if result["id"] != name:
        raise StellwerkError(
            f"subtask {name!r} got the stored result of {result['id']!r}: this run was started by another "
            "version of Stellwerk, and this one cannot resume it; start it anew"
        )
    return result


def _collect(
    names: Iterable[str], outcomes: Iterable[SubtaskResult | BaseException], exchange: Exchange | None
) -> dict[str, Any]:
    """Results by subtask; or one interrupt that carries those of all interrupted subtasks.

    Raising only the first would hide the others from whoever has to answer them. Subtasks that wait
    for an interrupted one repeat its interrupt, hence the de-duplication.
    """
    results: dict[str, SubtaskResult] = {}
    interrupts: dict[str, Interrupt] = {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, GraphInterrupt):
            interrupts |= {interrupt.id: interrupt for interrupt in outcome.args[0]}
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            results[name] = _own(name, outcome)
    if interrupts:
        raise GraphInterrupt(tuple(interrupts.values()))
    update = {"results": results, "executed": True}
    return {**update, "run_place": exchange.place} if exchange else update
