"""Settings of the results cache."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CacheSettings(BaseModel):
    """Whether accepted answers are kept in the database of the runs, and found again.

    Args:
        ttl: seconds for which an answer is kept; none is, and none is looked for, if None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ttl: float | None = Field(None, gt=0, allow_inf_nan=False)
