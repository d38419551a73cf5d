"""Settings of what workers do about failures."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stellwerk.error_policy import MOST_RETRIES, ErrorPolicy, OnFailure

Passing = Literal["unavailable", "timeout", "tier", "worker"]
_DEFAULT = ErrorPolicy()


class _Policy(BaseModel):
    """What `[errors]` and `[errors.workers.NAME]` share."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    retries: int = Field(_DEFAULT.retries, ge=0, le=MOST_RETRIES)
    retry_on: tuple[Passing, ...] = get_args(Passing)
    initial_interval: float = Field(_DEFAULT.initial_interval, gt=0, allow_inf_nan=False)
    max_interval: float = Field(_DEFAULT.max_interval, gt=0, allow_inf_nan=False)
    run_timeout: float | None = Field(None, gt=0, allow_inf_nan=False)
    idle_timeout: float | None = Field(None, gt=0, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """What is set, as arguments of an `ErrorPolicy`."""
        return {name: getattr(self, name) for name in _KEYS if name in self.model_fields_set}


class WorkerErrorSettings(_Policy):
    """What one worker does about failures; what is not set is that of `[errors]`, or the worker's own.

    Args:
        retries: at most so many on one tier.
        retry_on: the reasons that are worth one.
        initial_interval: seconds to wait at most before the first retry; doubles with each.
        max_interval: seconds to which that grows.
        run_timeout: seconds for an attempt in all.
        idle_timeout: seconds without a token.
        on_failure: what it means for those who need the result.
        substitute: what they are given with `on_failure = "substitute"`.
    """

    on_failure: OnFailure = _DEFAULT.on_failure
    substitute: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_goes_with_the_other(self) -> Self:
        if (self.substitute is not None) != (self.on_failure == "substitute"):
            raise ValueError('on_failure = "substitute" goes with a substitute; give both, or neither')
        return self

    def given(self) -> dict[str, Any]:
        """As of all; another `on_failure` than before leaves no substitute behind."""
        given = super().given()
        return {**given, "substitute": self.substitute} if "on_failure" in given else given


class ErrorSettings(_Policy):
    """What workers do about failures, where they have no policy of their own.

    Args:
        retries: at most so many on one tier.
        retry_on: the reasons that are worth one.
        initial_interval: seconds to wait at most before the first retry; doubles with each.
        max_interval: seconds to which that grows.
        run_timeout: seconds for an attempt in all.
        idle_timeout: seconds without a token.
        on_failure: what it means for those who need the result; a substitute is one worker's.
        workers: by name, what is different for one.
    """

    on_failure: Literal["skip", "fail"] = "skip"
    workers: dict[str, WorkerErrorSettings] = {}


_KEYS = (*_Policy.model_fields, "on_failure")
