"""People: what is asked of them, through LangGraph's `interrupt`, and what they answer.

A question is plain JSON, in a form that clients of LangChain's human-in-the-loop middleware can show. The
answer is checked here; one that does not fit is asked for again, with what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, get_args

from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt
from typing_extensions import TypedDict

from stellwerk.errors import ConfigurationError
from stellwerk.outcome import DecisionType, QuestionKind
from stellwerk.worker import Schema

# Names of the nodes in which people are asked; no worker can have one of them.
APPROVE = "person-approves"
ANSWER = "person-answers"

_TYPES = get_args(DecisionType)
# Other words for the same: those of LangChain's agent inbox, and what people type.
_SYNONYMS: Mapping[str, DecisionType] = {
    "accept": "approve",
    "yes": "approve",
    "ignore": "reject",
    "no": "reject",
    "response": "respond",
}
_MOST_SAID = 1_000  # characters of a reason


class Decision(TypedDict):
    """What a person decided: `args` of an edit, `message` of a rejection, `value` of a response."""

    type: DecisionType
    args: NotRequired[dict[str, Any]]
    message: NotRequired[str]
    value: NotRequired[Any]


Check = Callable[[Decision], Decision]
"""Gets a decision of the right form, and gives it as it is to be kept; a `ValueError` says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked.

    Args:
        kind: what it is about.
        question: in one sentence.
        worker: its name.
        instruction: of the subtask.
        meanings: what each decision that may be made means here.
        subtask: its id; empty for a worker that runs alone.
        tool: its name, where it is about a call.
        args: of the call.
        inputs: results that the subtask was given, by the subtask that they are from.
        value: what was found, where that is not all.
        unknown: the fields of it that are not known.
        args_schema: of what an edit gives.
        value_schema: of what a response gives.
        check: looks at a decision.
    """

    kind: QuestionKind
    question: str
    worker: str
    instruction: str
    meanings: Mapping[DecisionType, str]
    subtask: str = ""
    tool: str | None = None
    args: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    unknown: Sequence[str] = ()
    args_schema: Schema = field(default_factory=lambda: {"type": "object"})
    value_schema: Schema = field(default_factory=lambda: {"type": "string"})
    check: Check = lambda decision: decision

    def payload(self, error: str | None = None) -> dict[str, Any]:
        """As it is shown; `error` says what was wrong with the last answer."""
        name = self.name
        args = dict(self.args or {}) if self.tool else {"instruction": self.instruction}
        shown: dict[str, Any] = {
            "kind": self.kind,
            "question": self.question,
            "subtask": self.subtask,
            "worker": self.worker,
            "tool": self.tool,
            "args": None if self.args is None else dict(self.args),
            "instruction": self.instruction,
            "inputs": dict(self.inputs),
            "value": self.value,
            "unknown": list(self.unknown),
            "allowed": list(self.meanings),
            "meanings": dict(self.meanings),
            "response_schema": self.response_schema,
            # The form of LangChain's HumanInTheLoopMiddleware.
            "action_requests": [{"name": name, "args": args, "description": self.question}],
            "review_configs": [{"action_name": name, "allowed_decisions": list(self.meanings)}],
        }
        if error is not None:
            shown["error"] = error
        return shown

    @property
    def name(self) -> str:
        """Of what it is about: the tool, or else the worker."""
        return self.tool or self.worker

    @property
    def response_schema(self) -> Schema:
        """JSON schema of an answer."""
        more: Mapping[DecisionType, Schema] = {
            "edit": {"args": self.args_schema},
            "reject": {"message": {"type": "string"}},
            "respond": {"value": self.value_schema},
        }
        forms = []
        for each, meaning in self.meanings.items():
            properties = {"type": {"const": each}, **more.get(each, {})}
            required = [name for name in properties if name != "message"]
            forms.append({"type": "object", "title": meaning, "properties": properties, "required": required})
        return {"oneOf": forms} if len(forms) > 1 else forms[0]


def can_ask(config: RunnableConfig) -> bool:
    """Whether the graph can wait for a person: without a checkpointer, it could not be resumed."""
    # LangGraph has no public word for it; a subgraph finds its parent's here.
    return bool((config.get("configurable") or {}).get("__pregel_checkpointer"))


def check_can_ask(config: RunnableConfig, why: str) -> None:
    """Check that the graph can wait for a person.

    Args:
        config: of a step.
        why: a sentence that says what would be asked.

    Raises:
        ConfigurationError: if it cannot.
    """
    if not can_ask(config):
        raise ConfigurationError(
            f"{why} A graph without a checkpointer cannot wait for the answer; "
            "compile it with one: graph.compile(checkpointer=...)"
        )


def ask(question: Question, config: RunnableConfig) -> Decision:
    """What a person decides; interrupts the graph until there is an answer that fits.

    Raises:
        ConfigurationError: if the graph cannot wait, as it has no checkpointer.
    """
    check_can_ask(config, question.question)
    approving = question.kind in ("approve_tool", "approve_worker")
    error: str | None = None
    while True:
        answer = interrupt(question.payload(error), response_schema=question.response_schema)
        try:
            decision = read(answer, question.meanings, yes_or_no=approving, about=question.name)
            return question.check(decision)
        except ValueError as problem:
            error = f"the answer {_cut(answer)} does not fit: {problem}"


def read(
    answer: Any, allowed: Mapping[DecisionType, str], *, yes_or_no: bool = True, about: str | None = None
) -> Decision:
    """The decision of an answer, in whichever of the known forms it was given.

    Args:
        answer: what was given.
        allowed: the decisions that may be made.
        yes_or_no: whether "yes" approves and "no" rejects. They do not where it is asked what happened: yes,
            it was done, is the opposite of an approval to do it.
        about: the name of what is asked about, which an edit cannot change.

    Raises:
        ValueError: if it is none, or one that may not be made here.
    """
    match answer:
        case {"decisions": [one]} | [one]:
            answer = one
        case {"decisions": several} | list(several):
            raise ValueError(f"give one decision, not {len(several)}")
    if isinstance(answer, bool):
        answer = "yes" if answer else "no"
    given: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {"type": answer}
    named = str(given.get("type")).strip().lower()
    if named in ("yes", "no") and not yes_or_no:
        raise ValueError(f"{named} may mean several things here; allowed are {', '.join(allowed)}")
    kind = _SYNONYMS.get(named, named)
    if kind not in _TYPES or kind not in allowed:
        raise ValueError(f"the type is {named[:40]!r}; allowed are {', '.join(allowed)}")
    if kind == "edit":
        return Decision(type="edit", args=_edited(given, about))
    if kind == "reject":
        said = given.get("message", given.get("args"))
        return Decision(type="reject", message=said[:_MOST_SAID] if isinstance(said, str) else "")
    if kind == "respond":
        for name in ("value", "message", "args"):
            if name in given:
                return Decision(type="respond", value=given[name])
        raise ValueError("a response needs a value: {'type': 'respond', 'value': ...}")
    return Decision(type="approve")


def as_text(decision: Decision) -> Decision:
    """A response whose value is a text, as a tool's output is; other JSON is written out."""
    if decision["type"] != "respond" or isinstance(value := decision["value"], str):
        return decision
    return Decision(type="respond", value=json.dumps(value, ensure_ascii=False))


def _edited(given: Mapping[str, Any], about: str | None) -> dict[str, Any]:
    match given:
        case {"edited_action": {"args": dict(args), **rest}}:
            if about is not None and (name := rest.get("name", about)) != about:
                raise ValueError(f"it is asked about {about!r}, and the edit is of {str(name)[:64]!r}")
            return args
        # The form of LangChain's agent inbox; a tool may have arguments of these names too.
        case {"args": {"action": str(name), "args": dict(args)} as whole} if len(whole) == 2 and about in (
            None,
            name,
        ):
            return args
        case {"args": dict(args)}:
            return args
    raise ValueError("an edit needs the new arguments: {'type': 'edit', 'args': {...}}")


def _cut(answer: Any) -> str:
    try:
        shown = json.dumps(answer, ensure_ascii=False, default=str)
    except ValueError:
        shown = repr(answer)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
