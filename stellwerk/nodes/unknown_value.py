"""The node in which a person is asked for what models do not know; only workers have it that want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langgraph.config import get_config

from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.decided import outcome_of, record_of
from stellwerk.nodes.given_value import given_by_person, schema_of, unknown_in
from stellwerk.nodes.people import ANSWER, Decision, Question, ask
from stellwerk.nodes.route import last_attempt
from stellwerk.nodes.state import SubtaskState
from stellwerk.nodes.step import Step, Working
from stellwerk.outcome import DecisionType
from stellwerk.worker import Brief, Worker


def unknown_value_step(workers: Mapping[str, Worker], *, alone: bool = False) -> Step:
    """Asks once, when the worker has ended."""

    def core(state: Mapping[str, Any]) -> Working:
        yield from ()
        subtask = state.get("subtask") or {"id": "", "worker": next(iter(workers))}
        worker, brief = workers[subtask["worker"]], brief_of(state)
        question = _question(worker, brief, subtask["id"], state["value"])
        decision = ask(question, get_config())
        record = record_of(question, decision)
        # A worker with tools that runs alone has a list that grows.
        more = [record] if alone and worker.tools else [*(state.get("people") or ()), record]
        update: dict[str, Any] = {"people": more, **outcome_of(decision)}
        if not alone and state["verdict"]["accepted"] and "served" not in state:
            # Before its value is another: the attempt has given what the model gave.
            attempts = [*(state.get("attempts") or ()), last_attempt(cast("SubtaskState", state))]
            update |= {"attempts": attempts, "served": len(attempts) - 1}
        return update

    return Step(ANSWER, core)


def _question(worker: Worker, brief: Brief, subtask: str, found: Any) -> Question:
    unknown = unknown_in(worker, found) if found is not None else []
    in_part = found is not None and worker.finish is None
    meanings: dict[DecisionType, str] = {
        "respond": "the value is the result",
        "approve": "leave it unknown",
        "reject": "do not use what was found; it fails, and the message says why",
    }
    if in_part:
        meanings["respond"] = "the value goes over what was found; what it leaves out stays"
    if found is None:
        meanings["approve"] = "leave it; it fails, as no model knows"

    def check(decision: Decision) -> Decision:
        if decision["type"] != "respond":
            return decision
        value = given_by_person(worker, brief, decision["value"], found if in_part else None)
        return Decision(type="respond", value=value)

    what = ", ".join(unknown) or "the answer"
    return Question(
        kind="unknown_value",
        question=f"Worker {worker.name!r} does not know: {what}. Do you?",
        worker=worker.name,
        subtask=subtask,
        instruction=brief.instruction,
        inputs=brief.inputs,
        value=found,
        unknown=unknown,
        meanings=meanings,
        value_schema=schema_of(worker, in_part=in_part),
        check=check,
    )
