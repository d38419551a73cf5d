"""What clients may send. A key that is not here is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stellwerk.document import Document, as_documents

MOST_TOLD = 2_000  # characters of a comment


class Body(BaseModel):
    """What all bodies share: no further keys, and text that every database takes."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, given: Any) -> Any:
        check_text(given)
        return given


class DocumentBody(Body):
    """A document."""

    name: str = Field(min_length=1, max_length=512)
    text: str


class BudgetBody(Body):
    """Limits of a run, within those of the settings."""

    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=1)
    calls: int | None = Field(None, ge=1)


class RunBody(Body):
    """A task for the orchestrator."""

    task: str = Field(min_length=1)
    documents: list[DocumentBody] = []
    plan: dict[str, Any] | None = None
    budget: BudgetBody | None = None


class ResumeBody(Body):
    """Answers to questions, by their ids: `{"type": "approve"}` and its like."""

    answers: dict[str, dict[str, Any]] = {}


class WorkerBody(Body):
    """A job for one worker."""

    instruction: str = Field(min_length=1)
    documents: list[DocumentBody] = []
    inputs: dict[str, Any] = {}
    tier: str | None = None


class FeedbackBody(Body):
    """What somebody thinks of the newest run of a thread, or of one of its subtasks."""

    subtask: str | None = None
    score: float | None = Field(None, allow_inf_nan=False)
    label: str | None = Field(None, min_length=1, max_length=64)
    comment: str | None = Field(None, min_length=1, max_length=MOST_TOLD)


class TextPart(Body):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """A message, as OpenAI's API has it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class StreamOptions(Body):
    """As OpenAI's API has them."""

    include_usage: bool = False


class ChatBody(Body):
    """A request of OpenAI's chat API. What says how a model samples has no effect: tiers are set for that."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    user: str | None = None


def check_text(value: Any) -> None:
    match value:
        case str():
            if "\0" in value:
                raise ValueError("it has a NUL character, which is no text; leave it out")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("it has a surrogate, which is no text; send whole characters") from None
        case dict():
            for name, each in value.items():
                check_text(name)
                check_text(each)
        case list():
            for each in value:
                check_text(each)


def documents_of(given: Sequence[DocumentBody]) -> list[Document]:
    """The documents as graphs take them.

    Raises:
        DocumentError: if two share a name.
    """
    return as_documents([Document(name=each.name, text=each.text) for each in given])
