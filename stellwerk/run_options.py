"""What may be chosen for one run: the runtime context of an orchestrator."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails

from stellwerk.errors import InputError
from stellwerk.plan import MOST_REPLANS

_SUBTASK, _RUN = "subtask_", "run_"

# As forms show them: a field that is left out is no value of its own.
Name = Annotated[str, Field(min_length=1)] | SkipJsonSchema[None]
Number = Annotated[float, Field(gt=0, allow_inf_nan=False)] | SkipJsonSchema[None]
Count = Annotated[int, Field(ge=1)] | SkipJsonSchema[None]


class RunOptions(BaseModel):
    """What is chosen for one run; the rest is as the orchestrator was built.

    It is the context of an orchestrator: `graph.invoke({"task": ...}, context={"largest_tier": "small"})`.
    Limits make those of the orchestrator tighter, and never wider. What was chosen stays with the task: a run
    that is resumed goes on with it.

    Args:
        smallest_tier: the smallest tier that subtasks may use; the smallest of the ladder if None.
        largest_tier: the largest tier that may be used, also for planning and merging; the largest of the
            ladder if None. The same tier as both leaves no other.
        router: `"smallest-first"`, to begin at the smallest tier that may be used whatever a learned router
            says; the orchestrator's own router if None.
        run_usd: what the run may cost, in USD.
        run_seconds: that the run may work.
        run_tokens: that the run's calls may read and write.
        run_calls: of models that the run may make.
        subtask_attempts: of each subtask, over all tiers.
        subtask_usd: what each subtask may cost, in USD.
        subtask_seconds: that the calls of each subtask may take.
        subtask_tokens: that the calls of each subtask may read and write.
        subtask_calls: of models that each subtask may make.
        replans: how often what gave no result is planned anew.
        cache: whether answers of before are used, and new ones kept, where the orchestrator keeps them.

    Raises:
        InputError: naming each option that does not exist, or whose value cannot be used.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "title": "Options of a run",
            "description": "What is chosen for one run; what is left out is as in the settings. Limits "
            "become tighter, never wider.",
        },
    )

    smallest_tier: Name = Field(
        None, title="Smallest tier", description="The smallest tier that subtasks may use."
    )
    largest_tier: Name = Field(
        None,
        title="Largest tier",
        description="The largest tier that may be used, also for planning and merging.",
    )
    router: Literal["smallest-first"] | SkipJsonSchema[None] = Field(
        None,
        title="Router",
        description="smallest-first begins at the smallest tier that may be used, whatever a learned router "
        "says; without it, the router is that of the settings.",
        json_schema_extra={"enum": ["smallest-first"]},
    )
    run_usd: Number = Field(
        None, title="Run: USD", description="What the run may cost, in USD.", examples=[0.05]
    )
    run_seconds: Number = Field(
        None, title="Run: seconds", description="Seconds that the run may work.", examples=[120]
    )
    run_tokens: Count = Field(
        None,
        title="Run: tokens",
        description="Tokens that the run's calls may read and write.",
        examples=[50_000],
    )
    run_calls: Count = Field(
        None, title="Run: calls", description="Calls of models that the run may make.", examples=[20]
    )
    subtask_attempts: Count = Field(
        None,
        title="Subtask: attempts",
        description="Attempts at each subtask, over all tiers.",
        examples=[2],
    )
    subtask_usd: Number = Field(
        None, title="Subtask: USD", description="What each subtask may cost, in USD.", examples=[0.01]
    )
    subtask_seconds: Number = Field(
        None,
        title="Subtask: seconds",
        description="Seconds that the calls of each subtask may take.",
        examples=[30],
    )
    subtask_tokens: Count = Field(
        None,
        title="Subtask: tokens",
        description="Tokens that the calls of each subtask may read and write.",
        examples=[10_000],
    )
    subtask_calls: Count = Field(
        None,
        title="Subtask: calls",
        description="Calls of models that each subtask may make.",
        examples=[4],
    )
    replans: Annotated[int, Field(ge=0, le=MOST_REPLANS)] | SkipJsonSchema[None] = Field(
        None, title="Replans", description="How often what gave no result is planned anew.", examples=[1]
    )
    cache: bool = Field(
        True,
        title="Cache",
        description="Whether answers of before are used and new ones kept, where the settings keep them.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(given, Mapping):  # a form gives an empty text for what is left out
            given = {name: value for name, value in given.items() if value is not None and value != ""}
        try:
            return handler(given)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False)
            problems = [cls._problem(each) for each in wrong if each["type"] != "none_required"]
        raise InputError("; ".join(dict.fromkeys(problems)))

    @classmethod
    def _problem(cls, wrong: ErrorDetails) -> str:
        if not wrong["loc"]:
            return f"the options of the run: {wrong['msg']}"
        name = str(wrong["loc"][0])
        if wrong["type"] != "extra_forbidden":
            return f"the option {name} of the run: {wrong['msg']} (found {str(wrong['input'])[:80]!r})"
        near = get_close_matches(name, cls.model_fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"a run has no option {name}; {hint}options: {', '.join(cls.model_fields)}"

    @property
    def run_limits(self) -> dict[str, Any]:
        """Limits of the run, by their names in its budget."""
        return self._limits(_RUN)

    @property
    def subtask_limits(self) -> dict[str, Any]:
        """Limits of each subtask, by their names in its budget."""
        return self._limits(_SUBTASK)

    def record(self) -> dict[str, Any]:
        """What is chosen, as JSON; empty if nothing is."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def _limits(self, kind: str) -> dict[str, Any]:
        chosen = self.record()
        return {name.removeprefix(kind): limit for name, limit in chosen.items() if name.startswith(kind)}
