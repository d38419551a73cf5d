"""What clients of LangServe send. What it is about is checked here, and once more by LangServe."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from stellwerk.serving.bodies import Body

Given = TypeVar("Given", bound=BaseModel)
MOST_INPUTS = 256
"""Of a batch."""


class ConfigBody(BaseModel):
    """A config as LangChain's clients send it. Only `configurable` counts: no tags, metadata or limits do."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    configurable: dict[str, Any] | None = None


class OneBody(Body, Generic[Given]):
    """An input."""

    input: Given
    config: ConfigBody | None = None
    kwargs: Any = Field(None, description="LangChain's clients send it; it has no effect.")

    @property
    def configs(self) -> list[ConfigBody | None]:
        """The config of the input."""
        return [self.config]


class BatchBody(Body, Generic[Given]):
    """Several inputs, each of which is a run."""

    inputs: Annotated[list[Given], Field(max_length=MOST_INPUTS)]
    config: ConfigBody | list[ConfigBody] | None = None
    kwargs: Any = Field(None, description="LangChain's clients send it; it has no effect.")

    @property
    def configs(self) -> list[ConfigBody | None]:
        """The config of each input; there may be another number of them."""
        if isinstance(self.config, list):
            return [*self.config]
        return [self.config] * len(self.inputs)


class EventsBody(OneBody[Given], Generic[Given]):
    """An input, and which events of its run are wanted."""

    diff: bool | None = Field(None, description="LangChain's clients send it; it has no effect.")
    include_names: list[str] | None = None
    include_types: list[str] | None = None
    include_tags: list[str] | None = None
    exclude_names: list[str] | None = None
    exclude_types: list[str] | None = None
    exclude_tags: list[str] | None = None


class RunMetadata(BaseModel):
    """Of a run, as LangServe gives it."""

    run_id: str
    feedback_tokens: list[Any]


class RunsMetadata(BaseModel):
    """Of several runs."""

    run_ids: list[str]
    responses: list[RunMetadata]


class Answer(BaseModel):
    """What came of an input."""

    output: dict[str, Any]
    metadata: RunMetadata


class Answers(BaseModel):
    """What came of several."""

    output: list[dict[str, Any]]
    metadata: RunsMetadata
