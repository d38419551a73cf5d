"""Route: pick the tier for the next attempt, or stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_config
from langgraph.graph import END
from langgraph.types import Command

from stellwerk.budget import Budget
from stellwerk.decision import SERVE_NONE, Decision
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.chosen import Choices
from stellwerk.nodes.given_value import is_unknown
from stellwerk.nodes.observed import begin_attempt, end_attempt
from stellwerk.nodes.people import ANSWER, APPROVE
from stellwerk.nodes.retry import Retry, retries_in, retry_of
from stellwerk.nodes.state import SubtaskState
from stellwerk.nodes.step import Pause, Step, Working
from stellwerk.nodes.terms import affordable, calls_of, terms_of
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Attempt, Reason, Verdict, answer_digest
from stellwerk.plan import Subtask
from stellwerk.routers.router import Router, cascades
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Brief, Worker

_LEAST = 0.01  # seconds; with less left, no call is made


def route_step(
    workers: dict[str, Worker], ladder: Ladder, router: Router, budget: Budget, tracer: Tracer | None = None
) -> Step:
    """The node in front of the workers; one of a router that cascades tells of the attempts as well."""
    choices = Choices(ladder, router, budget)

    def core(state: SubtaskState) -> Working:
        subtask = Subtask.model_construct(**state["subtask"])
        worker, people = workers[subtask.worker], state.get("people")
        if worker.approve and not people and "verdict" not in state:
            return Command(goto=APPROVE)
        brief = brief_of(state)
        chosen = choices.of(brief.options)
        ladder, budget, decide = chosen.ladder, chosen.budget, chosen.decide
        attempts = state.get("attempts") or []
        values = state.get("values") or {}
        if "verdict" in state:
            attempts = [*attempts, last_attempt(state)]
            if state["verdict"]["accepted"]:
                values = {**values, str(len(attempts) - 1): state["value"]}
        if brief.purse is not None:
            brief.purse.account.attempted(brief.purse.owner, calls_of(attempts))
        if "verdict" in state and state["verdict"].get("by") == "person":  # on a server
            if tracer is not None and cascades(router):
                tracer.attempt(worker, state, get_config())
            served = {"served": len(attempts) - 1} if state["verdict"]["accepted"] else {}
            return Command(update={"attempts": attempts, **served}, goto=END)
        update: dict[str, Any] = {"attempts": attempts}
        if values:
            update["values"] = values
        within = _beside_retries(budget, attempts, ladder)
        decision, tier, waits = None, None, None
        # Higher up it would cost more. Where a person gives the run more time or money, it is a new one.
        ended = bool(attempts) and attempts[-1]["verdict"].get("reason") == Reason.BUDGET
        more = not ended and within.allows(len(attempts), len(ladder))
        may_retry = "verdict" in state and not values and not ended
        again = retry_of(worker.errors, attempts) if may_retry else None
        if again is not None and _is_over(
            ladder.tier(state["tier"]), ladder, within, attempts, worker, brief
        ):
            again = None
        if again is not None:
            decision, tier = _once_more(state, again), ladder.tier(state["tier"])
        elif chosen.cascades if values else more:  # with an answer in hand, to hear which one is served
            decision = decide(subtask, worker, ladder, within, attempts, brief)
            waits = _stays(state, decision) if not values and decision.tier is None else None
            if waits is not None:
                decision = waits
            if more and decision.tier is not None:
                tier = ladder.tier(decision.tier)
                if (
                    waits is None
                    and attempts
                    and not affordable(tier, ladder, budget, attempts, worker, brief)
                ):
                    tier = None
                    if values:  # which answer is served is the router's to say, as no other can be paid for
                        over = replace(budget, attempts=len(attempts))
                        decision = decide(subtask, worker, ladder, over, attempts, brief)
        if tier is None or decision is None:
            update |= _stop(attempts, values, decision)
        if tracer is not None and "verdict" in state and cascades(router):
            tracer.attempt(worker, {**state, "decision": update["attempts"][-1]["decision"]}, get_config())
        if tier is None or decision is None:
            return Command(update=update, goto=ANSWER if is_unknown(worker, {**state, **update}) else END)
        terms = terms_of(tier.name, ladder, within, attempts, worker, brief)
        if waits is not None:
            terms["last"] = True
        if again is not None:
            terms["retry"] = again.number
            yield Pause(again.pause)
        begin_attempt(subtask, tier.name, decision, attempts)
        record = decision.record()
        if worker.approve and people and not attempts:
            record["person"] = people[0]["type"]
        update |= {"tier": tier.name, "decision": record, "terms": terms}
        return Command(update=update, goto=subtask.worker)

    return Step("router", core)


def _stop(attempts: list[Attempt], values: dict[str, Any], decision: Decision | None) -> dict[str, Any]:
    """What the state becomes when no attempt follows: of several accepted answers, one is served."""
    if not values or not attempts:
        return {}
    stopped = decision.record() if decision is not None and decision.tier is None else None
    served = stopped.get("serve") if stopped is not None else None
    if served is None or str(served) not in values:
        served = max(map(int, values))
    last = attempts[-1]
    if stopped is not None:
        last = Attempt(**{**last, "decision": {**last["decision"], "after": stopped}})
    attempts = [*attempts[:-1], last]
    if stopped is not None and stopped.get("serve") == SERVE_NONE:
        verdict = Verdict(accepted=False, reason=Reason.DOUBTED.value, detail=stopped["why"][:1000])
        return {"attempts": attempts, "value": None, "verdict": verdict}
    return {
        "attempts": attempts,
        "served": served,
        "tier": attempts[served]["tier"],
        "value": values[str(served)],
        "verdict": attempts[served]["verdict"],
    }


def _stays(state: SubtaskState, decision: Decision) -> Decision | None:
    """Where the router knows no other tier, an attempt that found its tier exhausted waits for it, once."""
    terms = state.get("terms")
    if terms is None or terms["last"] or state["verdict"].get("reason") != Reason.UNAVAILABLE:
        return None
    why = f"{state['tier']} had no place in time, and no other tier is allowed; waits for it"
    return replace(decision, tier=state["tier"], why=why, propensity=1.0)


def _once_more(state: SubtaskState, again: Retry) -> Decision:
    """The decision for a retry, which no router is asked for; it counts as that of the attempt before."""
    before, reason = state["decision"], state["verdict"].get("reason")
    why = (
        f"{state['tier']} failed ({reason}), which may pass; retry {again.number}, after {again.pause:.1f} s"
    )
    return Decision(tier=state["tier"], router=before["router"], version=before["version"], why=why)


def _beside_retries(budget: Budget, attempts: list[Attempt], ladder: Ladder) -> Budget:
    """The budget with room for the retries made: they are the worker's, not the router's."""
    if not (retries := retries_in(attempts)):
        return budget
    return replace(budget, attempts=(budget.attempts or len(ladder)) + retries)


def _is_over(
    tier: Tier, ladder: Ladder, budget: Budget, attempts: list[Attempt], worker: Worker, brief: Brief
) -> bool:
    """Whether the budget's time is over, or its money does not allow another attempt on the tier."""
    left = terms_of(tier.name, ladder, budget, attempts, worker, brief)["seconds"]
    late = left is not None and left < _LEAST
    return late or not affordable(tier, ladder, budget, attempts, worker, brief)


def last_attempt(state: SubtaskState) -> Attempt:
    """The attempt that the state's verdict is about."""
    attempt = Attempt(
        tier=state["tier"],
        decision=state["decision"],
        verdict=state.get("verdict") or Verdict(accepted=False),
        calls=state.get("calls") or [],
    )
    if attempt["verdict"]["accepted"]:
        attempt["answer"] = answer_digest(state.get("value"))
    if (terms := state.get("terms")) is not None and "retry" in terms:
        attempt["retry"] = terms["retry"]
    return attempt


class AfterAttempt(Runnable[SubtaskState, str]):
    """Accepted ends the subtask; rejected goes back to the router. One that cascades is always asked.

    What a person decided on a server goes there too, and ends there: no other tier is asked after it.

    Where a worker wants it, a person is asked for what an accepted answer lacks. A plain `Runnable`, as
    LangGraph would trace a function, which costs 0.1 ms a subtask.
    """

    name = "after_attempt"

    def __init__(self, worker: Worker, tracer: Tracer | None = None, *, cascade: bool = False) -> None:
        self._worker = worker
        self._tracer = None if cascade else tracer  # the router's step tells of it
        self._cascade = cascade

    def invoke(self, input: SubtaskState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The next node."""
        end_attempt(input)
        if self._tracer is not None:
            self._tracer.attempt(self._worker, input, config or {})
        verdict = input["verdict"]
        if not verdict["accepted"] or verdict.get("by") == "person" or self._cascade:
            return "router"
        return ANSWER if is_unknown(self._worker, input) else END

    async def ainvoke(self, input: SubtaskState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """As `invoke`."""
        return self.invoke(input, config)
