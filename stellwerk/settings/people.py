"""Settings of what people are asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]


class PeopleSettings(BaseModel):
    """When a run waits for a person.

    Args:
        approve: before what: names of workers, and of tools as `worker.tool`, or as the tool alone where only
            one worker has it.
        ask: whether a person is asked for what workers do not know, or the names of those workers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    approve: tuple[Name, ...] = ()
    ask: bool | tuple[Name, ...] = False
