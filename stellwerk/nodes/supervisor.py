"""Supervisor: turn the task into a plan; when the plan has run, see what is missing, and plan that anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langgraph.types import Command

from stellwerk.budget import RunBudget
from stellwerk.document import as_documents
from stellwerk.errors import InputError
from stellwerk.nodes.chosen import allowed, given_options, options_of, planning_tier, run_budget
from stellwerk.nodes.known_plans import KnownPlans
from stellwerk.nodes.observed import new_run, planning_observed
from stellwerk.nodes.pay import Prices, affording
from stellwerk.nodes.planner import Planner
from stellwerk.nodes.replan import lacks, replan, round_of
from stellwerk.nodes.run_failure import failure_of
from stellwerk.nodes.state import Failure, OrchestratorState, PlanSource
from stellwerk.nodes.step import Step, Working
from stellwerk.nodes.tracing import Tracer
from stellwerk.nodes.write_scope import origin
from stellwerk.plan import MAX_INSTRUCTION, Plan
from stellwerk.run_options import RunOptions
from stellwerk.tiers.ladder import Ladder


def supervisor_step(
    planner: Planner,
    ladder: Ladder,
    *,
    budget: RunBudget,
    prices: Prices,
    replans: int = 0,
    known: KnownPlans | None = None,
    tracer: Tracer | None = None,
) -> Step:
    """The node that plans, and that judges what came of the plan.

    Args:
        planner: makes the plans, on the largest tier that a run may use.
        ladder: the tiers that there are.
        budget: of each run.
        prices: by tier.
        replans: how often what gave no result may be planned anew.
        known: plans that did a task before; none if None.
        tracer: is told.
    """

    def core(state: OrchestratorState) -> Working:
        if state.get("executed"):
            return (yield from judge(state))
        task = task_of(state)
        documents, options = as_documents(state.get("documents")), given_options()
        allowed(ladder, options)  # or it says what is wrong, before anything has cost something
        update: dict[str, Any] = {
            "final_task": task,
            "documents": documents,
            "calls": [],
            "started": time.time(),
            "fallback": "",
            "round": 0,
            "replaced": [],
            "results": {},
            "limits": run_budget(budget, state.get("budget") or {}, options).record(),
            "worked": 0.0,
            "budget_ended": "",
            **new_run(),
            "origin": origin(),
        }
        if options is not None or state.get("options"):  # those of the task before, on the same thread
            update["options"] = options.record() if options is not None else {}
        if state.get("plan"):
            plan = Plan.parse(state["plan"])
            plan.check_workers(planner.workers)
            update["plan_source"] = PlanSource(kind="given")
        elif known is not None and (found := (yield from known.find(task, documents))) is not None:
            plan, update["plan_source"] = planner.claimed(found.plan, documents), found.source
        else:
            run = cast("OrchestratorState", update)
            following = tracer.following(run) if tracer else nullcontext()
            with planning_observed() as told, following:
                planned, update["budget_ended"] = yield from affording(
                    planner_in(options).plan(task, documents), run, prices
                )
                assert planned.plan is not None
                told(planned.plan, planned.problem)
            update["worked"] = time.time() - update["started"]
            plan, update["calls"], update["fallback"] = planned.plan, planned.calls, planned.problem
            update["plan_source"] = PlanSource(kind="fallback" if planned.problem else "planner")
        return Command(update={**update, "final_plan": plan.model_dump(mode="json")}, goto="execute")

    def judge(state: OrchestratorState) -> Working:
        failure = failure_of(state["results"], planner.workers)
        if failure is not None and (over := state.get("budget_ended")):
            failure["message"] += f"; the run's budget of {over} ended"
        if known is not None:
            yield from learn(known, state, failure)
        number, options = state.get("round", 0) + 1, options_of(state)
        most = replans if options is None or options.replans is None else options.replans
        if failure is None or failure.get("ended_by") or not lacks(state["results"]) or number > most:
            return Command(update={"failure": failure}, goto="synthesize")
        began = time.monotonic()
        with planning_observed() as told, tracer.following(state) if tracer else nullcontext():
            planned, over = yield from affording(replan(planner_in(options), state, number), state, prices)
            told(planned.plan, planned.problem)
        over = over or state.get("budget_ended", "")
        worked = state.get("worked", 0.0) + time.monotonic() - began
        calls = [*state.get("calls", ()), *planned.calls]
        if planned.plan is None:
            failure["replanning"] = planned.problem
            failure["message"] += f"; no other plan: {planned.problem}"
            update = {"failure": failure, "calls": calls, "budget_ended": over, "worked": worked}
            return Command(update=update, goto="synthesize")
        kept = {subtask.id for subtask in planned.plan.subtasks} & state["results"].keys()
        update = {
            "final_plan": planned.plan.model_dump(mode="json"),
            "results": {name: state["results"][name] for name in kept},
            "replaced": [*(state.get("replaced") or ()), round_of(state)],
            "round": number,
            "calls": calls,
            "budget_ended": over,
            "worked": worked,
            "plan_source": PlanSource(kind="planner"),
        }
        return Command(update=update, goto="execute")

    def planner_in(options: RunOptions | None) -> Planner:
        tier = planning_tier(planner.tier, ladder, options)
        return planner if tier is planner.tier else replace(planner, tier=tier)

    def learn(known: KnownPlans, state: OrchestratorState, failure: Failure | None) -> Working:
        source = state.get("plan_source")
        if source is not None and source["kind"] == "planner" and failure is None:
            plan = Plan.parse(state["final_plan"])
            yield known.keep(state["final_task"], state.get("documents", ()), plan)
        elif source is not None and source["kind"] == "stored" and failure is not None:
            yield known.forget(source)

    return Step("supervisor", core)


def task_of(state: OrchestratorState) -> str:
    """The task: the text given, or the last message of a person.

    Raises:
        InputError: if there is none, or if it is too long.
    """
    task = state.get("task")
    if not task:  # a form gives an empty one beside messages
        messages: Sequence[AnyMessage] = state.get("messages", ())
        task = next((message.text for message in reversed(messages) if message.type == "human"), "")
    if not isinstance(task, str) or not task.strip():
        raise InputError(
            f"the task is empty (found {task!r}); pass {{'task': 'what to do', ...}} or messages"
        )
    task = task.strip()
    if len(task) > MAX_INSTRUCTION:
        raise InputError(
            f"the task has {len(task):,} characters; the limit is {MAX_INSTRUCTION:,}: "
            "pass texts as documents"
        )
    return task
