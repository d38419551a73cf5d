"""The node in which a person is asked before a worker does anything; only workers have it that want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.config import get_config
from langgraph.graph import END
from langgraph.types import Command

from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.decided import outcome_of, record_of
from stellwerk.nodes.given_value import given_by_person, schema_of
from stellwerk.nodes.people import APPROVE, Check, Decision, Question, ask, check_can_ask
from stellwerk.nodes.step import Step, Working
from stellwerk.plan import MAX_INSTRUCTION
from stellwerk.worker import Brief, Worker

_INSTRUCTION = {
    "type": "object",
    "properties": {"instruction": {"type": "string", "minLength": 1, "maxLength": MAX_INSTRUCTION}},
    "required": ["instruction"],
}


def approval_step(workers: Mapping[str, Worker]) -> Step:
    """Inside a subtask: asks before its first attempt, and goes back to the router, or ends it."""

    def core(state: Mapping[str, Any]) -> Working:
        yield from ()
        subtask = state["subtask"]
        question = _question(workers[subtask["worker"]], brief_of(state), subtask["id"])
        decision = ask(question, get_config())
        update = {"people": [record_of(question, decision)], **outcome_of(decision)}
        if decision["type"] == "edit":
            update["subtask"] = {**subtask, **decision["args"]}
        return Command(update=update, goto=END if "verdict" in update else "router")

    return Step(APPROVE, core)


def alone_step(worker: Worker, onwards: str) -> Step:
    """In front of a worker that runs alone and may ask people: begins with what it has to be asked.

    What people decided when the thread had another input is forgotten.
    """

    def core(state: Mapping[str, Any]) -> Working:
        yield from ()
        config = get_config()
        check_can_ask(config, f"Worker {worker.name!r} may have to ask a person.")
        fresh: list[Any] = [None] if worker.tools else []  # see `add_people`
        if not worker.approve:
            return Command(update={"people": fresh}, goto=onwards)
        question = _question(worker, brief_of({**state, "people": []}), "")
        decision = ask(question, config)
        update = {"people": [*fresh, record_of(question, decision)], "calls": [], **outcome_of(decision)}
        return Command(update=update, goto=END if "verdict" in update else onwards)

    return Step(APPROVE, core)


def _question(worker: Worker, brief: Brief, subtask: str) -> Question:
    of = f" of subtask {subtask!r}" if subtask else ""
    return Question(
        kind="approve_worker",
        question=f"May worker {worker.name!r} begin with the instruction{of}?",
        worker=worker.name,
        subtask=subtask,
        instruction=brief.instruction,
        inputs=brief.inputs,
        meanings={
            "approve": "begin",
            "edit": "begin, with another instruction",
            "reject": "do not; it fails, and the message says why",
            "respond": "do not; the value is its result",
        },
        args_schema=_INSTRUCTION,
        value_schema=schema_of(worker),
        check=_check(worker, brief),
    )


def _check(worker: Worker, brief: Brief) -> Check:
    def check(decision: Decision) -> Decision:
        if decision["type"] == "edit":
            instruction = decision["args"].get("instruction")
            if not isinstance(instruction, str) or not instruction.strip():
                raise ValueError("an edit needs a new instruction: {'args': {'instruction': '...'}}")
            if len(instruction) > MAX_INSTRUCTION:
                raise ValueError(f"the instruction has more than {MAX_INSTRUCTION:,} characters")
            return Decision(type="edit", args={"instruction": instruction})
        if decision["type"] == "respond":
            value = given_by_person(worker, brief, decision["value"])
            return Decision(type="respond", value=value)
        return decision

    return check
