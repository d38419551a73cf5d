"""What a thread asks of people: the questions that are open, and what an answer may be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.types import Interrupt

from stellwerk.flat_schema import flat
from stellwerk.nodes.people import read
from stellwerk.workers.follows_schema import breach

_SHORTEST = 6  # characters of an id
# What LangGraph writes of a task that did not end; any other write is what it gave.
_UNFINISHED = {ERROR, INTERRUPT, RESUME, "__error_source_node__"}
# What each decision says besides its type.
_PARTS: Mapping[str, str] = {"approve": "", "edit": "args", "reject": "message", "respond": "value"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that waits for an answer.

    Args:
        id: of the interrupt.
        value: as `Question.payload` gives it; or anything, where a tool asks for itself.
        schema: JSON schema of the answer, or None.
    """

    id: str
    value: Any
    schema: Mapping[str, Any] | None = None

    @property
    def structured(self) -> bool:
        """Whether it has the form of a `Question`, and so is answered by a decision."""
        return isinstance(self.value, Mapping) and bool(self.value.get("kind") and self.value.get("allowed"))

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each decision that may be made means."""
        if not self.structured:
            return {"respond": "the value is the answer"}
        told = self.value.get("meanings") or {}
        return {str(kind): str(told.get(kind, "")) for kind in self.value["allowed"]}

    @property
    def args(self) -> Mapping[str, Any]:
        """What an edit changes."""
        if not self.structured:
            return {}
        found = self.value.get("args")
        return found if found is not None else {"instruction": self.value.get("instruction", "")}

    def answer(self, kind: str, said: str | None = None, *, args: Mapping[str, Any] | None = None) -> Any:
        """What the run is told, of what a person typed.

        Args:
            kind: of the decision.
            said: the reason, the value, or the arguments as JSON; None if nothing was said.
            args: of an edit, where they are known.

        Raises:
            ValueError: if it does not fit.
        """
        kind = self._kind(kind)
        decision: dict[str, Any] = {"type": kind}
        if kind == "approve":
            if said:
                raise ValueError("approve takes nothing more; type it alone")
        elif kind == "reject":
            decision["message"] = said or ""
        elif kind == "respond":
            if not said:
                raise ValueError('a response needs a value: respond:VALUE; an empty text is respond:""')
            decision["value"] = typed(said, self.part("value"), "the value")
        elif args is not None:
            decision["args"] = self._fitting(dict(args), "args", "arguments")
        elif said is None:
            raise ValueError('an edit needs all arguments as JSON: edit:{"name": "value"}')
        else:
            decision["args"] = typed(said, {"type": "object", **self.part("args")}, "arguments")
        return self._told(decision)

    def decide(self, decision: Mapping[str, Any]) -> Any:
        """What the run is told, of a decision as JSON: `{"type": "edit", "args": {...}}` and its like.

        Raises:
            ValueError: if it does not fit.
        """
        kind = self._kind(str(decision.get("type")))
        part = _PARTS[kind]
        if unknown := sorted(decision.keys() - {"type", part}):
            raise ValueError(f"{kind} takes no {unknown[0]!r}; {f'give {part}' if part else 'leave it out'}")
        made: dict[str, Any] = {"type": kind}
        if kind == "reject":
            made["message"] = decision.get("message", "")
            if not isinstance(made["message"], str):
                raise ValueError("the message of a rejection is a text")
        elif part:
            if part not in decision:
                raise ValueError(f"{kind} needs {part!r}")
            name = "arguments" if kind == "edit" else "the value"
            made[part] = self._fitting(decision[part], part, name)
        return self._told(made)

    def part(self, name: str) -> Mapping[str, Any]:
        """Schema of what a decision gives: `args` of an edit, `value` of a response."""
        if not self.structured:
            return self.schema or {}
        whole = self.value.get("response_schema") or {}
        for form in whole.get("oneOf", [whole]):
            if name in (properties := form.get("properties") or {}):
                found: Mapping[str, Any] = properties[name]
                return found
        return {}

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        shown = {"id": self.id, "value": self.value}
        return shown if self.structured or self.schema is None else {**shown, "response_schema": self.schema}

    def _kind(self, kind: str) -> str:
        kind = kind.strip().lower()
        # Not the words that programs may use: 'yes' to 'was it done?' would mean that it is to be done again.
        if kind not in self.meanings:
            raise ValueError(f"{kind[:40]!r} is no decision here; give {' or '.join(self.meanings)}")
        return kind

    def _fitting(self, value: Any, part: str, name: str) -> Any:
        if problem := breach(value, flat(self.part(part)), name):
            raise ValueError(problem)
        return value

    def _told(self, decision: dict[str, Any]) -> Any:
        answer = decision if self.structured else decision["value"]
        try:
            json.dumps(answer, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it has characters that are no text; give UTF-8") from None
        if self.structured:
            read(answer, dict.fromkeys(self.value["allowed"], ""))
        return answer


def open_questions(saved: CheckpointTuple | None) -> list[Asked]:
    """The questions that are open, from the pending writes of a thread's newest checkpoint; none without one.

    The orchestrator's own record of them is renewed only when it stops: a subtask that was answered and has
    ended since is told by what it gave.
    """
    asked: dict[str, list[Interrupt]] = {}
    ended: set[str] = set()
    for task, channel, value in (saved.pending_writes if saved else None) or ():
        if channel == INTERRUPT:
            asked[task] = list(value) if isinstance(value, Sequence) else [value]
        elif channel not in _UNFINISHED:
            ended.add(task)
    answered = {one.id for task in ended for one in asked.get(task, ())}
    # The orchestrator's own list has all of them, in the plan's order.
    lists = sorted((asked[task] for task in asked if task not in ended), key=len, reverse=True)
    found = {one.id: one for several in lists for one in several if one.id not in answered}
    return [
        Asked(one.id, one.value, schema if isinstance(schema := one.response_schema, Mapping) else None)
        for one in found.values()
    ]


def typed(said: str, schema: Mapping[str, Any], name: str) -> Any:
    """A value that a person wrote: JSON where that fits the schema, else the text as it stands.

    Raises:
        ValueError: if neither fits.
    """
    wanted = flat(schema)
    values: list[Any] = [said]
    no_json = ""
    try:
        values.insert(0, json.loads(said, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        if said.lstrip().startswith(("{", "[", '"')):
            no_json = f" (as JSON: {error})"
    problems = []
    for value in values:
        problem = breach(value, wanted, name)
        if problem is None:
            return value
        problems.append(problem)
    raise ValueError(problems[0] + no_json)


def short_ids(asked: Sequence[Asked]) -> dict[str, str]:
    """By id, the beginning that tells each from the others."""
    for length in range(_SHORTEST, 33):
        short = {one.id: one.id[:length] for one in asked}
        if len(set(short.values())) == len(short):
            return short
    return {one.id: one.id for one in asked}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
