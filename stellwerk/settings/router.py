"""Settings of the router."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

GOALS = ("quality_floor", "usd_per_failure", "usd_per_subtask")
_OF_FLOOR = ("confidence", "relative", "coverage")


class RouterSettings(BaseModel):
    """Which router picks the tiers.

    Args:
        name: `"smallest-first"`, `"fixed"`, or `"learned"`: the one that was promoted, of those that
            `stellwerk router train` made, and `smallest-first` as long as none was.
        start: for `smallest-first`: by worker, the tier to begin with.
        tier: for `fixed`: the tier.
        quality_floor: for `learned`: served answers are right at least so often.
        confidence: chance that this promise holds.
        relative: whether the floor is a share of what the largest tier reaches.
        coverage: least share of subtasks with a served answer; below 1 the router may serve none.
        usd_per_failure: for `learned`, in place of a floor: what a wrong or missing answer costs.
        usd_per_subtask: for `learned`, in place of a floor: what a subtask may cost on average.
        explore: share of decisions that are drawn by lot, so that there are traces to judge a router by.
        shadow: whether the router in the shadow decides as well; what it decides is in the traces alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Literal["smallest-first", "fixed", "learned"] = "smallest-first"
    start: dict[str, str] = {}
    tier: str | None = None
    quality_floor: float | None = Field(None, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0, lt=1)
    relative: bool = False
    coverage: float = Field(1.0, gt=0, le=1)
    usd_per_failure: float | None = Field(None, ge=0, allow_inf_nan=False)
    usd_per_subtask: float | None = Field(None, gt=0, allow_inf_nan=False)
    explore: float = Field(0.0, ge=0, le=1)
    shadow: bool = False

    @property
    def goals(self) -> list[str]:
        """Which goals are set; one at most."""
        return [name for name in GOALS if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _options_of_that_router(self) -> Self:
        if (self.name == "fixed") != (self.tier is not None):
            raise ValueError('the router "fixed" needs a tier, and no other router takes one')
        if self.name == "fixed" and (self.start or self.explore):
            raise ValueError('the router "fixed" takes neither start nor explore')
        return self

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        learns = self.name == "learned" or self.shadow
        if learns and len(self.goals) != 1:
            found = " and ".join(self.goals) or "none"
            raise ValueError(f'the router "learned", or one in the shadow, needs {_GOALS}; found {found}')
        if self.goals and not learns:
            raise ValueError(f'{self.goals[0]} is for the router "learned", or one in the shadow')
        if self.quality_floor is None and (given := set(_OF_FLOOR) & self.model_fields_set):
            raise ValueError(f"{min(given)} belongs to quality_floor, which is not set")
        return self


_GOALS = "one of " + ", ".join(GOALS[:-1]) + f" or {GOALS[-1]}"
