"""Route: pick the tier for the next attempt, or stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END
from langgraph.types import Command

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.state import SubtaskState, Terms
from stellwerk.nodes.step import Asking, Step
from stellwerk.nodes.terms import affordable, terms_of
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Attempt, Reason, Verdict
from stellwerk.plan import Subtask
from stellwerk.routers.router import Router
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


def route_step(workers: dict[str, Worker], ladder: Ladder, router: Router, budget: Budget) -> Step:
    """The node in front of the workers."""

    def core(state: SubtaskState) -> Asking:
        yield from ()  # a step is a generator, also when it asks nothing
        subtask = Subtask.model_construct(**state["subtask"])
        attempts = state.get("attempts") or []
        if "verdict" in state:
            attempts = [*attempts, last_attempt(state)]
        update: dict[str, Any] = {"attempts": attempts}
        if budget.allows(len(attempts), len(ladder)):
            worker, brief = workers[subtask.worker], brief_of(state)
            decision = router.decide(subtask, worker, ladder, budget, attempts)
            if decision.tier is None and (again := _stays(state, decision)):
                terms = terms_of(again.tier or "", ladder, budget, attempts, worker, brief)
                update |= {"decision": again.record(), "terms": Terms(last=True, seconds=terms["seconds"])}
                return Command(update=update, goto=subtask.worker)
            if decision.tier is not None:
                tier = ladder.tier(decision.tier)
                if not attempts or affordable(tier, ladder, budget, attempts, worker, brief):
                    terms = terms_of(tier.name, ladder, budget, attempts, worker, brief)
                    update |= {"tier": tier.name, "decision": decision.record(), "terms": terms}
                    return Command(update=update, goto=subtask.worker)
        return Command(update=update, goto=END)

    return Step("router", core)


def _stays(state: SubtaskState, decision: Decision) -> Decision | None:
    """Where the router knows no other tier, an attempt that found its tier exhausted waits for it, once."""
    terms = state.get("terms")
    if terms is None or terms["last"] or state["verdict"].get("reason") != Reason.UNAVAILABLE:
        return None
    why = f"{state['tier']} had no place in time, and no other tier is allowed; waits for it"
    return replace(decision, tier=state["tier"], why=why, propensity=1.0)


def last_attempt(state: SubtaskState) -> Attempt:
    """The attempt that the state's verdict is about."""
    return Attempt(
        tier=state["tier"],
        decision=state["decision"],
        verdict=state.get("verdict") or Verdict(accepted=False),
        calls=state.get("calls") or [],
    )


class AfterAttempt(Runnable[SubtaskState, str]):
    """Accepted ends the subtask; rejected goes back to the router.

    A plain `Runnable`, as LangGraph would trace a function, which costs 0.1 ms a subtask.
    """

    name = "after_attempt"

    def __init__(self, worker: Worker, tracer: Tracer | None = None) -> None:
        self._worker = worker
        self._tracer = tracer

    def invoke(self, input: SubtaskState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The next node."""
        if self._tracer is not None:
            self._tracer.attempt(self._worker, input, config or {})
        return END if input["verdict"]["accepted"] else "router"

    async def ainvoke(self, input: SubtaskState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """As `invoke`."""
        return self.invoke(input, config)
