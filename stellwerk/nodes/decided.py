"""What people decided in a subtask, as its state has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from stellwerk.nodes.people import Decision, Question
from stellwerk.nodes.state import Known
from stellwerk.outcome import PersonDecision, QuestionKind, Reason, Verdict

People = Sequence[PersonDecision]


def record_of(question: Question, decision: Decision, call: str = "") -> PersonDecision:
    """What is kept of an answer; `call` is the name of the call that it was about."""
    record = PersonDecision(
        kind=question.kind, type=decision["type"], at=datetime.now(UTC).isoformat(timespec="seconds")
    )
    record.update({name: decision[name] for name in ("args", "message", "value") if name in decision})  # type: ignore[typeddict-item]  # names of both
    if question.tool is not None:
        record["tool"], record["call"] = question.tool, call
    return record


def decision_on(people: People, kind: QuestionKind) -> PersonDecision | None:
    """The last decision of a kind."""
    return next((record for record in reversed(people) if record["kind"] == kind), None)


def decisions_of(known: Known) -> People:
    """Those on a call. In a checkpoint of before, they are by what was asked."""
    found: Any = known.get("decisions", ())
    if isinstance(found, Mapping):
        return [PersonDecision(kind="unknown_outcome", type=each["type"], at="") for each in found.values()]
    return cast("People", found)


def on_call(people: Iterable[PersonDecision], call: str) -> list[PersonDecision]:
    """The decisions on calls of that name, also where a person put that call in another's place."""
    return [record for record in people if call in (record.get("call"), record.get("becomes"))]


def instruction_of(given: str, people: People | None) -> str:
    """The instruction of a subtask, or the one that a person put in its place."""
    if people and (record := decision_on(people, "approve_worker")) is not None and "args" in record:
        return str(record["args"]["instruction"])
    return given


def outcome_of(decision: Decision) -> dict[str, Any]:
    """What the state of a subtask becomes that a person rejected, or gave the value of."""
    if decision["type"] == "respond":
        return {"value": decision["value"], "verdict": Verdict(accepted=True, by="person")}
    if decision["type"] != "reject":
        return {}
    said = decision.get("message")
    detail = f"a person rejected it: {said}" if said else "a person rejected it"
    verdict = Verdict(accepted=False, by="person", reason=Reason.REJECTED.value, detail=detail)
    return {"value": None, "verdict": verdict}
