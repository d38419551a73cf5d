"""What the commands on routers share: where routers and traces are, and which goal."""

from __future__ import annotations

import getpass
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import existing_database, settings_of
from stellwerk.errors import ConfigurationError, InputError
from stellwerk.settings import Settings
from stellwerk.settings.router import GOALS, RouterSettings

if TYPE_CHECKING:  # SQLAlchemy and numpy take a while to import; `--help` does without
    from stellwerk.persistence.router_units import StoredRouter
    from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
    from stellwerk.persistence.traces import TraceStore
    from stellwerk.routers.goal import Goal

Version = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]",
        help="Of the router, or its beginning; the newest that never served if not given.",
        show_default=False,
    ),
]
QualityFloor = Annotated[
    float | None,
    typer.Option("--quality-floor", help="Served answers are right at least so often.", show_default=False),
]
Confidence = Annotated[
    float | None, typer.Option("--confidence", help="Chance that the floor holds.", show_default=False)
]
UsdPerFailure = Annotated[
    float | None,
    typer.Option("--usd-per-failure", help="What a wrong or missing answer costs.", show_default=False),
]
UsdPerSubtask = Annotated[
    float | None,
    typer.Option("--usd-per-subtask", help="What a subtask may cost on average.", show_default=False),
]
Why = Annotated[
    str | None,
    typer.Option("--why", help="For the history; rollback, retire and --force need it.", show_default=False),
]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; you if not given.", show_default=False)]

USUAL_FLOOR = 0.95  # where no goal is set anywhere


@dataclass(frozen=True, slots=True)
class Stores:
    """The database of a command, and its settings."""

    settings: Settings
    traces: TraceStore
    registry: SQLAlchemyRouterRegistry

    @property
    def tiers(self) -> tuple[str, ...]:
        """Names of the configured tiers, cheapest first."""
        return tuple(tier.name for tier in self.settings.tiers) or self.settings.models

    def router(self, version: str | None) -> StoredRouter:
        """The router whose version begins so; if None, the newest that never served, or the active one.

        Raises:
            InputError: if there is none.
        """
        if version is not None:
            return self.registry.find(version)
        new = (one for one in self.registry.list() if one.state in ("candidate", "shadow"))
        found = next(new, None) or self.registry.in_state("active")
        if found is None:
            raise InputError("there is no router yet; make one with: stellwerk router train")
        return found


@contextmanager
def stores(database: str | None) -> Iterator[Stores]:
    """The database, given or from the settings.

    Raises:
        InputError: if there is none.
    """
    from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
    from stellwerk.persistence.traces import TraceStore

    with TraceStore.from_url(existing_database(database)) as traces:
        yield Stores(settings_of(database), traces, SQLAlchemyRouterRegistry(traces.database))


def goal(
    settings: RouterSettings,
    *,
    quality_floor: float | None = None,
    confidence: float | None = None,
    usd_per_failure: float | None = None,
    usd_per_subtask: float | None = None,
    card: Mapping[str, Any] | None = None,
) -> Goal:
    """The goal of the options, else of the settings, else of a router's card, else a floor of .95.

    Raises:
        InputError: if more than one is given.
        ConfigurationError: if one is out of its range.
    """
    from stellwerk.graphs.goals import goal_of, recorded_goal

    options = dict(zip(GOALS, (quality_floor, usd_per_failure, usd_per_subtask), strict=True))
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        names = " and ".join(_option(name) for name in given)
        raise InputError(f"{names}: one goal at a time; leave one out")
    if not given and not settings.goals and card is not None and card.get("goal"):
        return recorded_goal(card["goal"])
    if not given and not settings.goals:
        given = {"quality_floor": USUAL_FLOOR}
    if given:
        # Not checked again: what is out of its range, the goal itself says.
        settings = settings.model_copy(update={**dict.fromkeys(GOALS), **given})
    if confidence is not None:
        settings = settings.model_copy(update={"confidence": confidence})
    try:
        return goal_of(settings)
    except ConfigurationError as error:
        asked = [*given, *(["confidence"] if confidence is not None else [])]
        names = " and ".join(_option(name) for name in asked)
        raise ConfigurationError(f"{names}: {error}" if names else str(error)) from None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def me(who: str | None) -> str:
    """Who decides."""
    if who is not None:
        return who
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have no name
        return "unknown"


def finite(value: Any) -> Any:
    """A value as JSON takes it: NaN and infinity are None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value
