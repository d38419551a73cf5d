"""How far a run of the orchestrator has come, read from what the graph streams."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler

from stellwerk.outcome import SubtaskResult, served_attempt
from stellwerk.plan import Plan, Subtask

State = Literal["waiting", "running", "asking", "accepted", "failed", "skipped"]
Phase = Literal["planning", "running", "merging"]


@dataclass(frozen=True)
class Rejection:
    """An attempt that was not accepted."""

    tier: str
    why: str


@dataclass
class Row:
    """One subtask as a person sees it. `seconds` are those in which a model worked on it."""

    subtask: Subtask
    state: State = "waiting"
    tier: str = ""
    attempt: int = 0
    seconds: float = 0.0
    asked_at: float | None = None
    rejected: list[Rejection] = field(default_factory=list)
    value: Any = None
    why: str = ""

    def busy(self, now: float) -> float:
        """Seconds of model time up to now."""
        return self.seconds + (now - self.asked_at if self.asked_at is not None else 0.0)


class Progress:
    """Fed with the events of stream mode `tasks`, subgraphs included, and with the model calls.

    A subtask that waits for its turn at a tier is told from one that a model works on by the calls:
    a tier starts a call only when it has room.
    """

    def __init__(self) -> None:
        self.phase: Phase = "planning"
        self.started = time.monotonic()
        self.rows: dict[str, Row] = {}
        self._rows_by_task: dict[str, Row] = {}
        self._calls: dict[UUID, Row] = {}

    def restore(self, plan: Mapping[str, Any], done: Iterable[SubtaskResult]) -> None:
        """Start from the plan and the results of an earlier run of the same thread."""
        self._lay_out(plan)
        for result in done:
            self._settle(result)

    def feed(self, namespace: Sequence[str], event: Mapping[str, Any]) -> Iterator[str]:
        """Take in one event; yields lines that say what happened."""
        name, given, result = event["name"], event.get("input"), event.get("result") or {}
        match len(namespace):
            case 0 if name == "supervisor" and "final_plan" in result:
                kept = self._lay_out(result["final_plan"], again=bool(result.get("round")))
                if result.get("round"):
                    new = len(self.rows) - len(kept)
                    yield f"planned anew: {new} subtask{'s' if new > 1 else ''} for what gave no result"
                    return
                if problem := result.get("fallback"):
                    yield f"no usable plan came ({problem}); the whole task goes to one worker"
                source = result.get("plan_source") or {}
                if "kept" in source:
                    yield f"the plan kept at {source['kept'][:16].replace('T', ' ')} UTC is used again"
                count = len(self.rows)
                yield f"plan: {count} subtask{'s' if count > 1 else ''}"
            case 0 if name == "supervisor" and given and not (given.get("executed") or given.get("plan")):
                yield "planning"
            case 0 if name == "run_subtask" and given:
                subtask = next(argument for argument in given[0] if isinstance(argument, Subtask))
                self._rows_by_task[event["id"]] = self.rows[subtask.id]
            case 0 if name == "run_subtask" and "__return__" in result:
                yield self._settle(result["__return__"])
            case 0 if name == "synthesize":
                self.phase = "merging"
            case _ if event.get("interrupts") and (row := self._row(namespace)):
                if row.state != "asking":
                    row.state = "asking"
                    yield f"{row.subtask.id}: asks a person"
            case 2 if row := self._row(namespace):
                if name == row.subtask.worker:
                    yield from self._attempt(row, given, result)

    def call_started(self, run_id: UUID, namespace: str) -> None:
        """A model works on a subtask from now on."""
        if row := self._row(namespace.split("|")):
            row.state, row.asked_at = "running", time.monotonic()
            self._calls[run_id] = row

    def call_ended(self, run_id: UUID) -> None:
        """A model has answered, or failed to."""
        if row := self._calls.pop(run_id, None):
            row.seconds, row.asked_at = row.busy(time.monotonic()), None
            row.state = "waiting"

    def _lay_out(self, plan: Mapping[str, Any], *, again: bool = False) -> dict[str, Row]:
        """Rows for a plan; those of what it keeps stay as they are, and are given back."""
        self.phase = "running"
        subtasks = Plan.parse(plan).in_order()
        kept = {each.id: self.rows[each.id] for each in subtasks if again and each.id in self.rows}
        self.rows = {subtask.id: kept.get(subtask.id) or Row(subtask) for subtask in subtasks}
        return kept

    def _row(self, namespace: Sequence[str]) -> Row | None:
        if len(namespace) < 2:
            return None
        return self._rows_by_task.get(namespace[1].removeprefix("run_subtask:"))

    def _attempt(self, row: Row, given: Mapping[str, Any] | None, result: Mapping[str, Any]) -> Iterator[str]:
        if given is not None:
            row.tier, row.attempt = given["tier"], len(given.get("attempts") or ()) + 1
            yield f"{row.subtask.id}: {row.subtask.worker} on {row.tier}, attempt {row.attempt}"
        elif (verdict := result.get("verdict")) and not verdict["accepted"]:
            why = f"{verdict.get('reason', 'rejected')}: {verdict.get('detail', '')}"
            row.rejected.append(Rejection(row.tier, why))
            yield f"{row.subtask.id}: rejected on {row.tier} ({why})"

    def _settle(self, result: SubtaskResult) -> str:
        row, attempts = self.rows[result["id"]], result["attempts"]
        row.state, row.value = result["status"], result["value"]
        row.why = f"{result.get('reason', '')}: {result.get('detail', '')}".strip(": ")
        row.seconds = sum(call["seconds"] for attempt in attempts for call in attempt["calls"])
        row.attempt = len(attempts)
        row.rejected = [
            Rejection(
                attempt["tier"],
                f"{attempt['verdict'].get('reason', 'rejected')}: {attempt['verdict'].get('detail', '')}",
            )
            for attempt in attempts
            if not attempt["verdict"]["accepted"]
        ]
        if attempts:
            row.tier = (served_attempt(result) or attempts[-1])["tier"]
        ending = f" ({row.why})" if row.why else f" on {row.tier} ({row.seconds:.1f} s)"
        return f"{row.subtask.id}: {row.state}{ending}"


class ModelCalls(AsyncCallbackHandler):
    """Tells the progress when a model starts and ends to work."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    async def on_chat_model_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        """As in LangChain."""
        metadata = kwargs.get("metadata") or {}
        self._progress.call_started(run_id, str(metadata.get("langgraph_checkpoint_ns", "")))

    async def on_llm_end(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        """As in LangChain."""
        self._progress.call_ended(run_id)

    async def on_llm_error(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        """As in LangChain."""
        self._progress.call_ended(run_id)
