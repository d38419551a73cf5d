"""What the steps of a graph tell observers of."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from uuid import uuid4
from weakref import WeakKeyDictionary

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.config import get_config
from langgraph.runtime import get_runtime

from stellwerk.decision import Decision
from stellwerk.errors import TierError
from stellwerk.ledger import LedgerRecord
from stellwerk.nodes.state import OrchestratorState, SubtaskState
from stellwerk.nodes.tracing import model_name
from stellwerk.observer import AttemptPart, CallPart, Place, PlanPart, RunPart, SubtaskPart, ToolPart
from stellwerk.outcome import Attempt, Usage
from stellwerk.plan import Plan, Subtask
from stellwerk.scope import Scope, current, within
from stellwerk.tiers.dispatch import FailedTry
from stellwerk.tiers.tier import Reply, Request, Tier

_models: WeakKeyDictionary[Tier, tuple[str, str]] = WeakKeyDictionary()


def new_run() -> dict[str, Any]:
    """A run has its id, the caller's or a new one, and where it can be found; as an update of its state."""
    metadata = get_config().get("metadata") or {}
    info = get_runtime().execution_info
    given = metadata.get("run_id") or (info.run_id if info is not None else None)
    run_id = str(given or uuid4())
    part = _run()
    if part is not None:
        part.run_id = run_id
    return {"run_id": run_id, "run_address": part.address if part is not None else ""}


def join_run(state: OrchestratorState) -> None:
    """A run is begun, or was in another part, in which this one goes on."""
    part = _run()
    if part is not None:
        part.run_id = state.get("run_id", "")
        began = state.get("run_address", "")
        part.follows = began if began != part.address else ""


def end_run(state: OrchestratorState, ledger: LedgerRecord) -> None:
    """A run has ended."""
    part = _run()
    if part is not None:
        part.ledger = ledger
        part.subtasks = [(result["worker"], result["status"]) for result in state["results"].values()]
        if failure := state.get("failure"):
            part.outcome, part.error, part.detail = "failed", "subtasks", failure["message"]


class planning_observed(within[PlanPart]):  # noqa: N801  # a context manager
    """Around planning; to be called with the plan, and why it is the one for when there is none."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(PlanPart())

    def __call__(self, plan: Plan | None, problem: str) -> None:
        part = self.part
        part.subtasks = len(plan.subtasks) if plan is not None else 0
        if problem:
            error = "fallback" if plan is not None else "replan"
            part.outcome, part.error, part.detail = "failed", error, problem


class subtask_observed(within[SubtaskPart]):  # noqa: N801  # a context manager
    """Around a subtask; to be called with the state that it ends in, which it gives back."""

    __slots__ = ()

    def __init__(self, subtask: Subtask) -> None:
        super().__init__(SubtaskPart(subtask=subtask.id, worker=subtask.worker))

    def __call__(self, state: Any) -> Any:
        part, ended = self.part, cast("SubtaskState", state)
        attempts, verdict = len(ended.get("attempts") or ()), ended.get("verdict")
        if verdict is not None and verdict["accepted"]:
            by_person = verdict.get("by") == "person"
            part.attempts = attempts if by_person or "served" in ended else attempts + 1
            part.tier = "" if by_person else ended["tier"]
        else:
            part.attempts, part.outcome = attempts, "failed"
            if verdict is not None:
                part.error, part.detail = verdict.get("reason", "rejected"), verdict.get("detail", "")
        return state


def begin_attempt(subtask: Subtask, tier: str, decision: Decision, attempts: list[Attempt]) -> None:
    """The router has decided on the next attempt."""
    scope = current()
    if scope is not None and isinstance(scope.part, SubtaskPart):
        above = attempts[-1]["tier"] if attempts else ""
        scope.begin_attempt(
            AttemptPart(
                subtask=subtask.id,
                worker=subtask.worker,
                tier=tier,
                number=len(attempts) + 1,
                above=above if above != tier else "",
                decision=decision.record() if scope.is_watched else None,
            )
        )


def end_attempt(state: Mapping[str, Any]) -> None:
    """An attempt has ended; `state` is that of its subtask, or of a worker that runs alone."""
    scope = current()
    if scope is None or not isinstance(scope.part, SubtaskPart):
        return
    part, verdict = _attempt(scope, state["tier"]), state["verdict"]
    part.tier, part.number = state["tier"], len(state.get("attempts") or ()) + 1
    part.decision, part.verdict = state.get("decision"), verdict
    if not verdict["accepted"]:
        part.outcome, part.error = "failed", verdict.get("reason", "rejected")
        part.detail = verdict.get("detail", "")
    if scope.attempt is not None:
        scope.attempt.end()
        scope.attempt = None


class call_observed:  # noqa: N801  # a context manager
    """Around a call of a model; to be called with the reply, which it gives back.

    Callbacks are told where in the run it stands, as metadata and tags.
    """

    __slots__ = ("_part", "_request", "_tier", "_token", "_within")

    def __init__(self, tier: Tier, request: Request) -> None:
        self._tier, self._request = tier, request

    def __enter__(self) -> call_observed:
        scope = current()
        self._within = self._token = None
        if scope is None:
            return self
        if isinstance(scope.part, SubtaskPart):
            _attempt(scope, self._tier.name)
        place = scope.attempt.place if scope.attempt is not None else scope.place
        config = var_child_runnable_config.get()
        if config is not None and getattr(config.get("callbacks"), "handlers", None):
            self._token = var_child_runnable_config.set(told(config, place, self._tier.name))
        if scope.is_watched:
            model, provider = model_of(self._tier)
            self._part = CallPart(
                tier=self._tier.name,
                model=model,
                provider=provider,
                max_tokens=self._request.max_tokens,
                is_json=self._request.schema is not None,
                messages=self._request.messages,
            )
            self._within = within(self._part)
            self._within.__enter__()
        return self

    def __call__(self, reply: Reply) -> Reply:
        if self._within is not None:
            part = self._part
            part.usage, part.waited, part.replica = reply.usage, reply.waited, reply.replica
            part.finish, part.answer = reply.finish, reply.message
            self._spend(reply.tries, reply.usage, reply.seconds)
        return reply

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            var_child_runnable_config.reset(self._token)
        if self._within is not None:
            if isinstance(error, TierError):
                self._part.waited = error.waited
                self._spend(error.tries, None, 0.0)
            self._within.__exit__(kind, error, trace)

    def _spend(self, tries: tuple[object, ...], usage: Usage | None, seconds: float) -> None:
        part, price, scope = self._part, self._tier.price, current()
        failed = [each for each in tries if isinstance(each, FailedTry)]
        billed = [each.seconds for each in failed if each.billed]
        part.tries, part.lost = len(failed), self._request.expected_input * len(billed) if billed else 0
        if price is None:
            return
        part.usd = price.usd(usage, seconds) if usage is not None else 0.0
        if billed:
            part.usd += price.usd(Usage(input=part.lost, cached=0, output=0), sum(billed))
        if scope is not None:
            for around in (scope.place.attempt, scope.place.subtask):
                if around is not None:
                    around.usd += part.usd


class tool_observed(within[ToolPart]):  # noqa: N801  # a context manager
    """Around a call of a tool; to be called with what it gave, which it gives back."""

    __slots__ = ()

    def __init__(self, call: ToolCall) -> None:
        super().__init__(ToolPart(tool=call["name"], call_id=call["id"] or "", arguments=call["args"]))

    def __enter__(self) -> Self:
        scope = current()
        if scope is not None and isinstance(scope.part, SubtaskPart):
            _attempt(scope, "")
        return super().__enter__()

    def __call__(self, given: Any) -> Any:
        part = self.part
        part.output = getattr(given, "text", None)
        if getattr(given, "status", None) == "error":
            part.outcome, part.error = "failed", "error"
        return given


def told(config: RunnableConfig, place: Place, tier: str) -> RunnableConfig:
    """A config that tells callbacks where in a run a call stands; LangSmith and streams show it."""
    metadata: dict[str, Any] = {"stellwerk_tier": tier}
    tags = [f"tier:{tier}"]
    if place.run is not None and place.run.run_id:
        metadata["stellwerk_run_id"] = place.run.run_id
    if place.subtask is not None:
        metadata["stellwerk_worker"] = place.subtask.worker
        tags.append(f"worker:{place.subtask.worker}")
        if place.subtask.subtask:
            metadata["stellwerk_subtask"] = place.subtask.subtask
    if place.attempt is not None and place.attempt.number:
        metadata["stellwerk_attempt"] = place.attempt.number
    return {
        **config,
        "metadata": {**(config.get("metadata") or {}), **metadata},
        "tags": [*(config.get("tags") or ()), *tags],
    }


def model_of(tier: Tier) -> tuple[str, str]:
    """The name of a tier's model, and whose kind of model it is."""
    found = _models.get(tier)
    if found is None:
        provider = None
        with suppress(Exception):  # of another package's model, which only tracers ask this
            provider = tier.model._get_ls_params().get("ls_provider")
        found = _models[tier] = model_name(tier), provider or "unknown"
    return found


def _attempt(scope: Scope, tier: str) -> AttemptPart:
    """The attempt on its way; one that began in another process begins here for observers."""
    subtask = scope.part
    assert isinstance(subtask, SubtaskPart)
    if scope.attempt is None:
        scope.begin_attempt(AttemptPart(subtask=subtask.subtask, worker=subtask.worker, tier=tier))
    assert scope.attempt is not None
    part = scope.attempt.part
    assert isinstance(part, AttemptPart)
    return part


def _run() -> RunPart | None:
    scope = current()
    return scope.place.run if scope is not None else None
