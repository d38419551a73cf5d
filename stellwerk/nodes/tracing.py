"""Tell the sink of traces what became of attempts and runs. Nothing here ever fails a run."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import get_runtime

from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.prompts import worker_messages
from stellwerk.nodes.state import OrchestratorState
from stellwerk.nodes.tools import exchanges
from stellwerk.outcome import Call, Reason, Verdict
from stellwerk.tiers.tier import Tier
from stellwerk.trace import AttemptTrace, Exchange, RunOutcome, RunTrace, TraceSink, trace_id
from stellwerk.worker import Worker

_log = logging.getLogger(__name__)


def new_run_id() -> str:
    """The id that the caller gave the run, or a new one."""
    metadata = get_config().get("metadata") or {}
    info = get_runtime().execution_info
    given = metadata.get("run_id") or (info.run_id if info is not None else None)
    return str(given or uuid4())


def tell_attempt(
    sink: TraceSink, worker: Worker, tier: Tier, state: Mapping[str, Any], config: RunnableConfig
) -> None:
    """An attempt has ended; `state` is that of its subtask, or of a worker that runs alone."""
    with _unharmed():
        configurable = config.get("configurable") or {}
        thread_id = _thread_id(config)
        with set_config_context(config) as context:
            brief = context.run(brief_of, state)
        exchange = brief.exchange or Exchange()
        messages, answer = exchange.take()
        if not messages:
            # A resumed run may end an attempt whose model was asked before; its prompt can be made anew.
            messages = [*worker_messages(worker, brief), *exchanges(state["calls"])]
        if answer is None and (draft := state.get("draft")) is not None:
            answer = draft["text"] or None
        number = len(state.get("attempts") or ()) + 1
        place = str(configurable.get("checkpoint_ns") or "")
        verdict: Verdict = state["verdict"]
        sink.attempt(
            AttemptTrace(
                trace_id=trace_id(thread_id, exchange.run_id, place, number),
                run_id=exchange.run_id,
                thread_id=thread_id,
                subtask=state.get("subtask", {}).get("id", ""),
                worker=worker.name,
                worker_version=worker.version,
                tier=tier.name,
                model=_model_name(tier),
                number=number,
                decision=state.get("decision"),
                verdict=verdict,
                calls=state["calls"],
                value=state.get("value"),
                messages=messages,
                answer=answer,
                checks=_checks(worker, verdict),
                usd=_usd(tier, state["calls"]),
            )
        )


def tell_run(
    sink: TraceSink,
    state: OrchestratorState,
    outcome: RunOutcome,
    *,
    detail: str | None = None,
    ledger: Any = None,
) -> None:
    """Where a run stands."""
    with _unharmed():
        sink.run(
            RunTrace(
                run_id=run_id_of(state),
                thread_id=_thread_id(get_config()),
                task=state.get("final_task", ""),
                outcome=outcome,
                detail=detail,
                ledger=ledger,
                versions=_versions(),
                started_at=datetime.fromtimestamp(state["started"], UTC),
            )
        )


@contextmanager
def followed(sink: TraceSink | None, state: OrchestratorState) -> Iterator[None]:
    """Tell how a part of the run breaks off, if it does."""
    try:
        yield
    except BaseException as error:
        if sink is not None:
            broke = isinstance(error, Exception) and not isinstance(error, GraphBubbleUp)
            detail = f"{type(error).__name__}: {error}"[:1000] if broke else None
            tell_run(sink, state, "failed" if broke else "interrupted", detail=detail)
        raise


def run_id_of(state: OrchestratorState) -> str:
    """The id of the run, also of one that began before traces were asked for."""
    return state.get("run_id") or trace_id(_thread_id(get_config()), "", str(state["started"]), 0)


def _thread_id(config: RunnableConfig) -> str:
    return str((config.get("configurable") or {}).get("thread_id") or "")


@contextmanager
def _unharmed() -> Iterator[None]:
    try:
        yield
    except Exception:  # whatever a sink does, the run goes on
        _log.warning("a trace could not be made", exc_info=True)


def _checks(worker: Worker, verdict: Verdict) -> dict[str, bool]:
    names = [getattr(check, "__name__", "check") for check in worker.checks]
    if verdict["accepted"]:
        return dict.fromkeys(names, True)
    if verdict.get("reason") == Reason.CHECK:
        failed = (verdict.get("detail") or "").partition(": ")[0]
        if failed in names:
            return {**dict.fromkeys(names[: names.index(failed)], True), failed: False}
    return {}


def _usd(tier: Tier, calls: list[Call]) -> float | None:
    if tier.price is None:
        return None
    return sum(tier.price.usd(call["usage"], call["seconds"]) for call in calls)


def _model_name(tier: Tier) -> str:
    for attribute in ("model_name", "model", "model_id"):  # chat models do not agree on its name
        if isinstance(found := getattr(tier.model, attribute, None), str):
            return found
    return type(tier.model).__name__


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("stellwerk", "langgraph")} | {
        "python": platform.python_version()
    }
