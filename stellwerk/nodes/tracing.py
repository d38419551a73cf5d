"""Tell a sink of traces what became of attempts and runs. Nothing here ever fails a run."""

from __future__ import annotations

import logging
import platform
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp

from stellwerk.ledger import LedgerRecord
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.decided import instruction_of
from stellwerk.nodes.prompts import worker_messages
from stellwerk.nodes.state import OrchestratorState, all_results
from stellwerk.nodes.tools import exchanges
from stellwerk.outcome import (
    Attempt,
    Call,
    DecisionRecord,
    Reason,
    SubtaskResult,
    Verdict,
    answer_digest,
    given_value,
)
from stellwerk.plan import Plan, Subtask
from stellwerk.routing_context import RoutingContext, routing_context
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.trace import (
    AttemptTrace,
    Exchange,
    Origin,
    RunOutcome,
    RunTrace,
    TraceSink,
    origin_in,
    trace_id,
)
from stellwerk.worker import Brief, Worker

_log = logging.getLogger(__name__)
_MOST_RUNS = 1024  # remembered at once; each forgets its own when it ends


class Tracer:
    """What the steps of one graph tell of, and to whom."""

    def __init__(self, sink: TraceSink, workers: Mapping[str, Worker], ladder: Ladder) -> None:
        self._sink = sink
        self._workers = workers
        self._ladder = ladder
        self._told: OrderedDict[str, set[str]] = OrderedDict()
        _versions()  # reads files, for which an event loop must not wait later

    def begin(self, state: OrchestratorState) -> Exchange:
        """A run begins, or goes on: what each of its subtasks is given a copy of."""
        self._run(state, "running")
        # One place for all rounds of a run, as `end` tells of all of them.
        place = state.get("run_place") if state.get("round") else None
        return Exchange(run_id=_run_id(state), place=place or _place(get_config()))

    @contextmanager
    def following(self, state: OrchestratorState) -> Iterator[None]:
        """Tell how a part of the run breaks off, if it does."""
        try:
            yield
        except BaseException as error:
            broke = isinstance(error, Exception) and not isinstance(error, GraphBubbleUp)
            detail = f"{type(error).__name__}: {error}"[:1000] if broke else None
            self._run(state, "failed" if broke else "interrupted", detail=detail)
            raise

    def end(self, state: OrchestratorState, ledger: LedgerRecord) -> None:
        """A run has ended; with it, attempts are told of that no living process has told of.

        A process may be killed after an attempt was checkpointed and before its trace was written.
        """
        with unharmed():
            told = self._told.pop(_run_id(state), set())
            thread_id, results = _thread_id(get_config()), all_results(state)
            for subtask, position, size in _as_planned(state):
                result = results[subtask.id]
                place = (thread_id, _run_id(state), state.get("run_place", ""), subtask.id)
                for number, attempt in enumerate(result["attempts"], 1):
                    if attempt["verdict"].get("cached"):
                        continue
                    if (name := trace_id(*place, number)) not in told:
                        brief = _restored(state, results, subtask, position, size)
                        self._again(state, subtask, brief, result, number, attempt, name, trace_id(*place, 0))
        failure = state.get("failure")
        detail = failure["message"] if failure else None
        self._run(state, "failed" if failure else "ok", detail=detail, ledger=ledger)

    def attempt(self, worker: Worker, state: Mapping[str, Any], config: RunnableConfig) -> None:
        """An attempt has ended; `state` is that of its subtask, or of a worker that runs alone.

        Nothing is learned of a tier from an answer that was kept.
        """
        if state["verdict"].get("cached"):
            return
        with unharmed():
            tier = self._ladder.tier(state["tier"])
            brief = _brief(state, tier, config)
            exchange = brief.exchange or Exchange(place=_place(config))
            messages, answer = exchange.take()
            if not messages:
                # A resumed run may end an attempt whose model was asked before it was killed.
                messages = _prompt(worker, brief, state["calls"])
            if answer is None and (draft := state.get("draft")) is not None:
                answer = draft["text"] or None
            number = len(state.get("attempts") or ()) + 1
            subtask = _subtask(worker, brief, state)
            place = (_thread_id(config), exchange.run_id, exchange.place, subtask.id)
            name = trace_id(*place, number)
            self._attempt(
                name,
                worker=worker,
                run_id=exchange.run_id,
                thread_id=_thread_id(config),
                origin=_origin(config),
                subtask=subtask.id,
                context=_context(subtask, worker, brief),
                episode=trace_id(*place, 0),
                number=number,
                tier=tier,
                decision=state.get("decision"),
                verdict=state["verdict"],
                calls=state["calls"],
                value=state.get("value"),
                messages=messages,
                answer=answer,
            )
            if exchange.run_id:
                self._remember(exchange.run_id, name)

    def _again(
        self,
        state: OrchestratorState,
        subtask: Subtask,
        brief: Brief,
        result: SubtaskResult,
        number: int,
        attempt: Attempt,
        name: str,
        episode: str,
    ) -> None:
        worker = self._workers[result["worker"]]
        tier = self._ladder.tier(attempt["tier"])
        brief = replace(brief, rails=tier.rails)
        value = result["value"] if attempt["verdict"]["accepted"] else None
        if value is not None and attempt.get("answer", "") not in ("", answer_digest(value)):
            value = None  # of several accepted answers, another one was served
        self._attempt(
            name,
            worker=worker,
            run_id=_run_id(state),
            thread_id=_thread_id(get_config()),
            origin=_origin(get_config()),
            subtask=subtask.id,
            context=_context(subtask, worker, brief),
            episode=episode,
            number=number,
            tier=tier,
            decision=attempt["decision"],
            verdict=attempt["verdict"],
            calls=attempt["calls"],
            value=value,
            messages=_prompt(worker, brief, attempt["calls"]),
            answer=None,
        )

    def _attempt(
        self,
        name: str,
        *,
        worker: Worker,
        run_id: str,
        thread_id: str,
        origin: Origin,
        subtask: str,
        context: RoutingContext,
        episode: str,
        number: int,
        tier: Tier,
        decision: DecisionRecord | None,
        verdict: Verdict,
        calls: Sequence[Call],
        value: Any,
        messages: Sequence[BaseMessage],
        answer: str | None,
    ) -> None:
        self._sink.attempt(
            AttemptTrace(
                trace_id=name,
                run_id=run_id,
                thread_id=thread_id,
                subtask=subtask,
                worker=worker.name,
                worker_version=worker.version_on(tier.rails),
                tier=tier.name,
                model=model_name(tier),
                number=number,
                decision=decision,
                verdict=verdict,
                calls=calls,
                value=value,
                messages=messages,
                answer=answer,
                checks=_checks(worker, verdict),
                usd=usd_of(tier, calls),
                logprobs=next((call["logprobs"] for call in reversed(calls) if "logprobs" in call), None),
                context=context,
                episode=episode,
                origin=origin,
            )
        )

    def _run(
        self,
        state: OrchestratorState,
        outcome: RunOutcome,
        *,
        detail: str | None = None,
        ledger: LedgerRecord | None = None,
    ) -> None:
        with unharmed():
            self._sink.run(
                RunTrace(
                    run_id=_run_id(state),
                    thread_id=_thread_id(get_config()),
                    task=state.get("final_task", ""),
                    outcome=outcome,
                    detail=detail,
                    ledger=ledger,
                    versions=_versions(),
                    started_at=datetime.fromtimestamp(state["started"], UTC),
                    origin=_origin(get_config()),
                )
            )

    def _remember(self, run_id: str, name: str) -> None:
        self._told.setdefault(run_id, set()).add(name)
        while len(self._told) > _MOST_RUNS:
            self._told.popitem(last=False)


@contextmanager
def unharmed() -> Iterator[None]:
    """Whatever a sink does, the run goes on."""
    try:
        yield
    except Exception:
        _log.warning("a trace could not be made", exc_info=True)


def _run_id(state: OrchestratorState) -> str:
    # A run that began before traces were asked for has none in its state.
    return state.get("run_id") or trace_id(_thread_id(get_config()), "", str(state["started"]), "", 0)


def _thread_id(config: RunnableConfig) -> str:
    return str((config.get("configurable") or {}).get("thread_id") or "")


def _origin(config: RunnableConfig) -> Origin:
    known = config.get("configurable") or {}
    return origin_in(config.get("metadata") or {}, known, private=False)


def _place(config: RunnableConfig) -> str:
    return str((config.get("configurable") or {}).get("checkpoint_ns") or "")


def _brief(state: Mapping[str, Any], tier: Tier, config: RunnableConfig) -> Brief:
    # LangGraph does not set the config of a step for the edge behind it. Not `set_config_context`: what it
    # does for LangSmith besides takes 0.1 ms.
    token = var_child_runnable_config.set(config)
    try:
        return brief_of(state, tier)
    finally:
        var_child_runnable_config.reset(token)


def _subtask(worker: Worker, brief: Brief, state: Mapping[str, Any]) -> Subtask:
    """The subtask, or for a worker that runs alone what would have been one."""
    given = state.get("subtask") or {"id": "", "worker": worker.name, "instruction": brief.instruction}
    return Subtask.model_construct(**given)


def _context(subtask: Subtask, worker: Worker, brief: Brief) -> RoutingContext:
    # What the tools of this attempt gave was not there when it began.
    return routing_context(subtask, worker, replace(brief, tools=()) if brief.tools else brief)


def _as_planned(state: OrchestratorState) -> Iterator[tuple[Subtask, int, int]]:
    """Each subtask, with its place in the plan that it was first in, and the size of that."""
    seen: set[str] = set()
    for plan in (*(each["plan"] for each in state.get("replaced") or ()), state["final_plan"]):
        subtasks = Plan.parse(plan).in_order()
        for position, subtask in enumerate(subtasks):
            if subtask.id not in seen:
                seen.add(subtask.id)
                yield subtask, position, len(subtasks)


def _restored(
    state: OrchestratorState,
    results: Mapping[str, SubtaskResult],
    subtask: Subtask,
    position: int,
    size: int,
) -> Brief:
    return Brief(
        instruction=instruction_of(subtask.instruction, results[subtask.id].get("people")),
        documents=state.get("documents", ()),
        inputs={name: given_value(results[name]) for name in subtask.depends_on},
        position=position,
        size=size,
    )


def _prompt(worker: Worker, brief: Brief, calls: Sequence[Call]) -> list[BaseMessage]:
    return [*worker_messages(worker, brief), *exchanges(calls)]


def _checks(worker: Worker, verdict: Verdict) -> dict[str, bool]:
    names = [getattr(check, "__name__", "check") for check in worker.checks]
    if verdict["accepted"]:
        return dict.fromkeys(names, True)
    if verdict.get("reason") == Reason.CHECK:
        failed = (verdict.get("detail") or "").partition(": ")[0]
        if failed in names:
            return {**dict.fromkeys(names[: names.index(failed)], True), failed: False}
    return {}


def usd_of(tier: Tier, calls: Sequence[Call]) -> float | None:
    """What calls cost; None on a tier without a price."""
    if tier.price is None:
        return None
    return sum(tier.price.usd(call["usage"], call["seconds"]) for call in calls)


def model_name(tier: Tier) -> str:
    """The name of a tier's model."""
    for attribute in ("model_name", "model", "model_id"):  # chat models do not agree on its name
        if isinstance(found := getattr(tier.model, attribute, None), str):
            return found
    return type(tier.model).__name__


@cache
def _versions() -> dict[str, str]:
    versions = {name: version(name) for name in ("stellwerk", "langgraph")}
    return {**versions, "python": platform.python_version()}
