"""Inputs: as clients send them, and as graphs take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from langchain_core.messages import BaseMessage, convert_to_messages
from langserve.schema import CustomUserType
from pydantic import ConfigDict, Field, model_validator

from stellwerk.errors import InputError
from stellwerk.graphs.questions import Asked
from stellwerk.serving.bodies import Body, BudgetBody, DocumentBody, TextPart
from stellwerk.serving.langserve.forms import without_null

Documents = Annotated[
    list[DocumentBody], Field(title="Documents", description="The texts that it is about, pasted here.")
]


class FormBody(Body, CustomUserType):
    """What a form may send: in the place of a field that is left out, an empty value."""

    @classmethod
    def model_json_schema(cls, *options: Any, **named: Any) -> dict[str, Any]:
        """As a form needs it; /openapi.json has the whole truth."""
        schema: dict[str, Any] = without_null(super().model_json_schema(*options, **named))
        return schema

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        fields = cls.model_fields
        said = {name: value for name, value in given.items() if not (name in fields and _is_empty(value))}
        return said or given  # an empty answer, alone, goes on with what was broken off


class MessageBody(Body):
    """A message as LangChain has it: of it, what is said counts, by whom, and its id."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["human", "ai", "system"]
    content: str | list[TextPart]
    id: Annotated[str, Field(max_length=128)] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """As LangChain reads it."""
        content = self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content)
        return {"type": self.type, "content": content, **({} if self.id is None else {"id": self.id})}


class OrchestratorGiven(FormBody):
    """A task, as text or as the last message of a person; or what a run that stopped is resumed with."""

    task: (
        Annotated[
            str,
            Field(
                title="Task",
                description="What is to be done, in words; several questions, a line each, get an answer "
                "each.",
            ),
        ]
        | None
    ) = None
    documents: Documents = Field(default_factory=list)
    plan: (
        Annotated[
            dict[str, Any],
            Field(title="Plan", description="A ready plan, {'subtasks': [...]}, which spares the planner."),
        ]
        | None
    ) = None
    budget: (
        Annotated[
            BudgetBody, Field(title="Budget", description="Limits of this run, within those of the settings.")
        ]
        | None
    ) = None
    messages: Annotated[
        list[MessageBody],
        Field(title="Messages", description="A conversation in the place of a task."),
    ] = Field(default_factory=list)
    resume: Annotated[
        Any,
        Field(
            title="Resume",
            description="Goes on with a thread that stopped: the answer to its question, or answers by the "
            "ids of several; null where nothing is asked.",
        ),
    ] = None

    @classmethod
    def model_json_schema(cls, *options: Any, **named: Any) -> dict[str, Any]:
        """As that of `FormBody`."""
        schema = super().model_json_schema(*options, **named)
        schema["properties"]["resume"] |= {
            "type": "object",
            "additionalProperties": True,
        }  # or it has no field
        return schema

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        said = self.model_fields_set & {"task", "messages", "resume"}
        if len(said) != 1 or ("resume" in said and len(self.model_fields_set) > 1):
            raise ValueError(
                "give a task, or messages, each with documents, plan and budget as needed; or resume alone"
            )
        return self

    @property
    def resumes(self) -> bool:
        """Whether it goes on with a run that stopped."""
        return "resume" in self.model_fields_set

    @property
    def conversation(self) -> list[BaseMessage]:
        """The messages as graphs take them."""
        return convert_to_messages([message.plain for message in self.messages])


class WorkerGiven(FormBody):
    """A job for one worker."""

    instruction: Annotated[
        str, Field(min_length=1, title="Instruction", description="What this worker is to do, in words.")
    ]
    documents: Documents = Field(default_factory=list)
    inputs: Annotated[
        dict[str, Any],
        Field(title="Inputs", description="Results to work on, by their names, beside the documents."),
    ] = Field(default_factory=dict)
    tier: (
        Annotated[
            str, Field(title="Tier", description="The model that does it; the smallest if none is chosen.")
        ]
        | None
    ) = None


def answers_to(asked: Sequence[Asked], given: Any) -> dict[str, Any]:
    """Answers by the ids of questions: of one to the only question, or of a mapping of ids.

    Raises:
        InputError: if it fits no question, or one of several, nobody knows which.
    """
    if given in (None, {}, [], ""):
        return {}
    open_ = {one.id: one for one in asked}
    by_id = isinstance(given, Mapping) and bool(given) and given.keys() <= open_.keys()
    if not by_id:
        if len(asked) != 1:
            raise InputError(
                f"resume: {len(asked)} questions are open; give a mapping of ids to answers: "
                f"{', '.join(open_) or 'null, as nothing is asked'}"
            )
        given = {asked[0].id: given}
    told = {}
    for name, answer in given.items():
        one = open_[name]
        # What a tool asks in words of its own is answered by the value as it stands, as LangGraph has it.
        decision = answer if one.structured else {"type": "respond", "value": answer}
        try:
            if not isinstance(decision, Mapping):
                raise ValueError(f"it is no decision; give {{'type': {' or '.join(one.meanings)}}}")
            told[name] = one.decide(decision)
        except ValueError as error:
            raise InputError(f"resume: {name}: {error}") from None
    return told


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", {}, [])
