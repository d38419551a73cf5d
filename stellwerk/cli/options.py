"""Options of one run that go before the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from stellwerk.plan import MOST_REPLANS
from stellwerk.settings import Settings

Replans = Annotated[
    int | None,
    typer.Option(
        "--replans",
        min=0,
        max=MOST_REPLANS,
        help="How often what gave no result is planned anew.",
        show_default=False,
    ),
]
ReusePlans = Annotated[
    bool | None,
    typer.Option(
        "--reuse-plans/--no-reuse-plans",
        help="Keep the plan if it does the task wholly, and use it for the same task again.",
        show_default=False,
    ),
]
Cache = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Keep accepted answers, and use them for the same subtasks again.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What was said of one run; None where the settings hold.

    Args:
        replans: as `planning.replans`.
        reuse_plans: as `planning.reuse_plans`.
        cache: whether answers are kept; as long as a `ResultsCache` does, where `cache.ttl` says nothing.
    """

    replans: int | None = None
    reuse_plans: bool | None = None
    cache: bool | None = None

    def over(self, settings: Settings) -> Settings:
        """The settings of the run."""
        planning, cache = settings.planning, settings.cache
        if self.replans is not None:
            planning = planning.model_copy(update={"replans": self.replans})
        if self.reuse_plans is not None:
            planning = planning.model_copy(update={"reuse_plans": self.reuse_plans})
        if self.cache is not None:
            cache = cache.model_copy(update={"ttl": (cache.ttl or _ttl()) if self.cache else None})
        return settings.model_copy(update={"planning": planning, "cache": cache})

    def words(self) -> Iterator[str]:
        """As the command line takes them, for a command to go on."""
        if self.replans is not None:
            yield from ("--replans", str(self.replans))
        for name, said in (("reuse-plans", self.reuse_plans), ("cache", self.cache)):
            if said is not None:
                yield f"--{name}" if said else f"--no-{name}"


def _ttl() -> float | None:
    from stellwerk.nodes.results_cache import ResultsCache  # with it comes LangGraph; `--help` does without

    return ResultsCache.ttl
