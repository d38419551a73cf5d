"""Settings of planning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from stellwerk.plan import MOST_REPLANS


class PlanningSettings(BaseModel):
    """When the planner is asked.

    Args:
        replans: how often, in a run, what gave no result is planned anew.
        reuse_plans: whether a plan that did its task wholly is kept in the database of the runs, and is used
            for the same task again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    replans: int = Field(0, ge=0, le=MOST_REPLANS)
    reuse_plans: bool = False
