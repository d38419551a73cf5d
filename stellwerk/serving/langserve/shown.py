"""What clients are shown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from langgraph.types import Command, Interrupt, Send
from langserve.serialization import WellKnownLCSerializer
from pydantic import BaseModel, RootModel, TypeAdapter

from stellwerk.graphs.questions import Asked
from stellwerk.nodes.state import OrchestratorOutput, WorkerOutput
from stellwerk.serving.langserve.chosen import THREAD
from stellwerk.serving.langserve.given import FormBody

INTERRUPT = "__interrupt__"
OF_ORCHESTRATOR = tuple(OrchestratorOutput.__annotations__)
OF_WORKER = tuple(WorkerOutput.__annotations__)
_MORE: Mapping[str, Any] = {
    THREAD: {"type": "string", "description": "The thread that the task was done on."},
    INTERRUPT: {
        "type": "array",
        "description": "What people are asked, where the run waits for them; there is no answer then.",
        "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "value": {}},
            "required": ["id", "value"],
        },
    },
}
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def _schema(of: Any, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found = TypeAdapter(of).json_schema()
    return {**found, "properties": {**found["properties"], **(more or {})}}


class Json(WellKnownLCSerializer):
    """As that of LangServe, which fails at what LangGraph sends from node to node."""

    def dumps(self, obj: Any) -> bytes:
        """An object as JSON; of one that nobody here knows, its type's name alone."""
        try:
            return orjson.dumps(obj, default=_plain, option=_OPTIONS)
        except TypeError:  # an integer of more than 64 bits, or a text with half a character
            return json.dumps(obj, default=_plain, skipkeys=True).encode()


class Output(RootModel[dict[str, Any]]):
    """What a graph gives. It is not checked again, so that nothing is added to it that is not there."""

    form: ClassVar[Mapping[str, Any]]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """That of what the graph says that it gives."""
        return dict(cls.form)


class OrchestratorGives(Output):
    """What the orchestrator gives."""

    form = _schema(OrchestratorOutput, _MORE)


class WorkerGives(Output):
    """What a worker gives."""

    form = _schema(WorkerOutput)


def output(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The part of a state that is output."""
    return {name: values[name] for name in names if name in values}


def stopped(thread: str, asked: Sequence[Asked]) -> dict[str, Any]:
    """The output of a run that waits for people: what was there before is of an earlier task."""
    return {THREAD: thread, INTERRUPT: [one.plain() for one in asked]}


def _plain(value: Any) -> Any:
    match value:
        case FormBody():
            return value.model_dump(exclude_unset=True)
        case BaseModel():
            return value.model_dump()
        case Interrupt():
            return {"value": value.value, "id": value.id}
        case Send():
            return {"node": value.node, "arg": value.arg}
        case Command():
            shown = {"update": value.update, "goto": value.goto, "resume": value.resume}
            return {name: each for name, each in shown.items() if each}
        case set() | frozenset():
            return list(value)
        case _:
            return f"<{type(value).__name__}>"  # its words may be those of an error, or a secret
