"""Execute: run every subtask of the plan as soon as its own inputs are there.

Every subtask is called at once, in topological order, and waits inside for the futures of its inputs.
LangGraph matches a `@task` call with its stored result by name and order of call; launching subtasks
as they become ready would change that order from run to run, and on resume hand one subtask the
result of another, without an error.

A plan that was replaced in part runs in a new step of the graph, whose calls are matched among themselves
only; what is kept is in the state, and is not called at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, cast

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.func import task
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Interrupt

from stellwerk.account import Account, Purse
from stellwerk.document import Document
from stellwerk.errors import StellwerkError
from stellwerk.nodes.chosen import options_of
from stellwerk.nodes.observed import join_run, subtask_observed
from stellwerk.nodes.outage import is_outage
from stellwerk.nodes.pay import Prices, closed, is_resumed, open_account, put_down, put_down_before
from stellwerk.nodes.people import check_can_ask
from stellwerk.nodes.route import last_attempt
from stellwerk.nodes.state import OrchestratorState, SubtaskState
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Reason, SubtaskResult, given_value, is_given
from stellwerk.plan import Plan, Subtask
from stellwerk.run_options import RunOptions
from stellwerk.trace import Exchange
from stellwerk.worker import Brief, Worker

# Subtasks past this many wait outside their graph: thousands of half-run graphs cost more in garbage
# collection than they gain, and no plan made by a model comes near it.
IN_FLIGHT = 256

SubtaskGraph = CompiledStateGraph[Any, Any, Any, Any]


class Place(NamedTuple):
    """Where in its plan a subtask stands, from 0, how many there are, and the run with its options."""

    position: int
    size: int
    run: str = ""
    options: RunOptions | None = None


@task
def run_subtask(
    graph: SubtaskGraph,
    subtask: Subtask,
    documents: Sequence[Document],
    needed: Mapping[str, Any],
    exchange: Exchange | None,
    place: Place,
    account: Account | None,
    substitute: Any,
) -> SubtaskResult:
    """One subtask, as soon as the futures of its inputs are done."""
    inputs = {name: _own(name, future.result()) for name, future in needed.items()}
    if skipped := _skip(subtask, inputs):
        return _ended(skipped, inputs, substitute)
    try:
        brief = _brief(subtask, documents, inputs, exchange, place, account)
        if account is not None and is_resumed(config := get_config()):
            put_down_before(account, subtask.id, graph.get_state(config, subgraphs=True))
        with subtask_observed(subtask) as told:
            state = told(graph.invoke(_input(subtask), context=brief))
    except GraphBubbleUp:
        raise
    except Exception as error:
        if is_outage(error):
            raise
        return _ended(_broken(subtask, error), inputs, substitute)
    return _ended(_result(subtask, cast("SubtaskState", state)), inputs, substitute)


async def _arun_subtask(
    graph: SubtaskGraph,
    subtask: Subtask,
    documents: Sequence[Document],
    needed: Mapping[str, Any],
    exchange: Exchange | None,
    place: Place,
    account: Account | None,
    substitute: Any,
    gate: asyncio.Semaphore,
) -> SubtaskResult:
    """One subtask, as soon as the futures of its inputs are done."""
    inputs = {name: _own(name, await future) for name, future in needed.items()}
    if skipped := _skip(subtask, inputs):
        return _ended(skipped, inputs, substitute)
    async with gate:
        try:
            brief = _brief(subtask, documents, inputs, exchange, place, account)
            if account is not None and is_resumed(config := get_config()):
                put_down_before(account, subtask.id, await graph.aget_state(config, subgraphs=True))
            with subtask_observed(subtask) as told:
                state = told(await graph.ainvoke(_input(subtask), context=brief))
        except GraphBubbleUp:
            raise
        except Exception as error:
            if is_outage(error):
                raise
            return _ended(_broken(subtask, error), inputs, substitute)
    return _ended(_result(subtask, cast("SubtaskState", state)), inputs, substitute)


_arun_subtask.__name__ = "run_subtask"  # so that a run started one way can be resumed the other
arun_subtask = task(_arun_subtask)


def execute_node(
    subtask_graph: SubtaskGraph,
    workers: Mapping[str, Worker],
    prices: Prices,
    tracer: Tracer | None = None,
) -> Runnable[OrchestratorState, dict[str, Any]]:
    """The node that runs a plan.

    Its functions name the compiled subtask graph, so LangGraph draws that graph inside the node.
    """
    asking = {name for name, worker in workers.items() if worker.asks_people}

    # LangGraph looks for the subtask graph in these two functions, and no further.
    def execute(state: OrchestratorState) -> dict[str, Any]:
        join_run(state)
        _check_people(state, asking)
        exchange = tracer.begin(state) if tracer else None
        documents, account = state.get("documents", ()), open_account(state, prices)
        futures: dict[str, Any] = {name: _done(result) for name, result in _kept(state).items()}
        outcomes: list[SubtaskResult | BaseException] = []
        with tracer.following(state) if tracer else nullcontext():
            for subtask, place in _in_order(state):
                if subtask.id in futures:
                    continue
                needed = _needed(subtask, futures)
                futures[subtask.id] = run_subtask(
                    subtask_graph,
                    subtask,
                    documents,
                    needed,
                    exchange,
                    place,
                    account,
                    _substitute(subtask, workers),
                )
                _put_down(account, futures[subtask.id])
            for future in futures.values():
                try:
                    outcomes.append(future.result())
                except GraphInterrupt as interrupt:
                    outcomes.append(interrupt)
            return _collect(futures, outcomes, exchange, account)

    async def aexecute(state: OrchestratorState) -> dict[str, Any]:
        join_run(state)
        _check_people(state, asking)
        exchange = tracer.begin(state) if tracer else None
        gate = asyncio.Semaphore(IN_FLIGHT)
        documents, account = state.get("documents", ()), open_account(state, prices)
        futures: dict[str, Any] = {
            name: asyncio.wrap_future(_done(result)) for name, result in _kept(state).items()
        }
        with tracer.following(state) if tracer else nullcontext():
            for subtask, place in _in_order(state):
                if subtask.id in futures:
                    continue
                needed = _needed(subtask, futures)
                substitute = _substitute(subtask, workers)
                futures[subtask.id] = arun_subtask(
                    subtask_graph, subtask, documents, needed, exchange, place, account, substitute, gate
                )
                _put_down(account, futures[subtask.id])
            outcomes = await asyncio.gather(*futures.values(), return_exceptions=True)
            return _collect(futures, outcomes, exchange, account)

    return RunnableLambda(execute, aexecute, name="execute")


def _check_people(state: OrchestratorState, asking: Collection[str]) -> None:
    """Check that people can be asked, before a subtask has cost anything.

    Raises:
        ConfigurationError: if a subtask may have to, and the graph has no checkpointer.
    """
    for subtask in state["final_plan"]["subtasks"] if asking else ():
        if subtask["worker"] in asking:
            why = f"Worker {subtask['worker']!r} of subtask {subtask['id']!r} may have to ask a person."
            check_can_ask(get_config(), why)


def _in_order(state: OrchestratorState) -> Iterator[tuple[Subtask, Place]]:
    subtasks = Plan.parse(state["final_plan"]).in_order()
    run = state.get("origin") or str(state["started"])  # of an older version, a run has none
    options = options_of(state)
    return ((subtask, Place(number, len(subtasks), run, options)) for number, subtask in enumerate(subtasks))


def _kept(state: OrchestratorState) -> dict[str, SubtaskResult]:
    """Results of earlier rounds of this run; those in the state of a first round are of another task."""
    return state["results"] if state.get("round") else {}


def _done(result: SubtaskResult) -> Future[SubtaskResult]:
    future: Future[SubtaskResult] = Future()
    future.set_result(result)
    return future


def _needed(subtask: Subtask, futures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: futures[name] for name in subtask.depends_on}


def _input(subtask: Subtask) -> dict[str, Any]:
    return {"subtask": subtask.model_dump(mode="json"), "attempts": []}


def _brief(
    subtask: Subtask,
    documents: Sequence[Document],
    inputs: Mapping[str, SubtaskResult],
    exchange: Exchange | None,
    place: Place,
    account: Account | None,
) -> Brief:
    return Brief(
        instruction=subtask.instruction,
        documents=documents,
        inputs={name: given_value(result) for name, result in inputs.items()},
        position=place.position,
        size=place.size,
        run=place.run,
        options=place.options,
        subtask=subtask.id,
        exchange=replace(exchange) if exchange else None,
        purse=Purse(account, subtask.id) if account else None,
    )


def _put_down(account: Account | None, future: Any) -> None:
    """Put down what a subtask took, also one that had ended before the run was resumed."""
    if account is None:
        return

    def ended(future: Any) -> None:
        if not future.cancelled() and future.exception() is None:
            put_down(account, future.result())

    future.add_done_callback(ended)


def _skip(subtask: Subtask, inputs: Mapping[str, SubtaskResult]) -> SubtaskResult | None:
    missing = [name for name, result in inputs.items() if not is_given(result)]
    if not missing:
        return None
    roots = {root: None for name in missing for root in inputs[name].get("roots", (name,))}
    detail = f"needs {', '.join(missing)}, which gave no result"
    return SubtaskResult(
        id=subtask.id,
        worker=subtask.worker,
        status="skipped",
        value=None,
        attempts=[],
        reason=Reason.DEPENDENCY.value,
        detail=detail,
        roots=list(roots),
    )


def _substitute(subtask: Subtask, workers: Mapping[str, Worker]) -> Any:
    # A run that is resumed may have been planned for workers that there were.
    worker = workers.get(subtask.worker)
    return None if worker is None else worker.substitute


def _ended(result: SubtaskResult, inputs: Mapping[str, SubtaskResult], substitute: Any) -> SubtaskResult:
    """The result, with what goes on in its place if it failed, and the substitutes that it rests on."""
    if result["status"] != "accepted" and substitute is not None:
        result["substituted"] = substitute
    rests_on: dict[str, None] = {}
    for name, given in inputs.items():
        if "substituted" in given:
            rests_on[name] = None
        rests_on |= dict.fromkeys(given.get("rests_on", ()))
    if rests_on:
        result["rests_on"] = list(rests_on)
    return result


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
    people = state.get("people")
    if verdict is not None and verdict["accepted"]:
        result = SubtaskResult(
            id=subtask.id, worker=subtask.worker, status="accepted", value=state["value"], attempts=attempts
        )
        if people:
            result["people"] = people
        served = state.get("served")
        if verdict.get("by") == "person":
            result["by"] = "person"
        elif served is None:  # the router was not asked after this one
            result["attempts"] = [*attempts, last_attempt(state)]
        elif served != len(attempts) - 1:
            result["served"] = served
        return result
    failed = SubtaskResult(
        id=subtask.id, worker=subtask.worker, status="failed", value=None, attempts=attempts
    )
    if verdict is not None:
        failed["reason"] = verdict.get("reason", "rejected")
        failed["detail"] = verdict.get("detail", "")
        if verdict.get("by") == "person":
            failed["by"] = "person"
    if people:
        failed["people"] = people
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
    names: Iterable[str],
    outcomes: Iterable[SubtaskResult | BaseException],
    exchange: Exchange | None,
    account: Account | None,
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
    update = {"results": results, "executed": True, **closed(account)}
    return {**update, "run_place": exchange.place} if exchange else update
