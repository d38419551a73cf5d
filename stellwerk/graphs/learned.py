"""The learned router of the registry, as the settings want it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from stellwerk.errors import ConfigurationError, DatabaseError, ModelFileError
from stellwerk.graphs.goals import goal_of, goal_record
from stellwerk.persistence.router_units import State, StoredRouter
from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
from stellwerk.routers.goal import Goal
from stellwerk.routers.learned import LearnedRouter
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_file import read_model
from stellwerk.routers.policy import Policy
from stellwerk.settings import Settings
from stellwerk.tiers.ladder import Ladder

_log = logging.getLogger(__name__)
_SOLUTIONS = "solutions"  # in the card of a router


def model_of(
    registry: SQLAlchemyRouterRegistry, stored: StoredRouter, *, embeddings: Embeddings | None = None
) -> RouterModel:
    """The model of a router in the registry, checked against its version.

    Raises:
        UntrustedDataError: if the file is not the one that was added.
        ModelFileError: if it cannot be read, or is of another version than the registry says.
        ConfigurationError: if the model needs embeddings.
    """
    name = f"the router {stored.version[:12]}"
    model = read_model(registry.load(stored.version), embeddings=embeddings, name=name)
    if model.digest != stored.version:
        raise ModelFileError(f"{name} is of version {model.digest[:12]}; train it again")
    return model


def solved(
    registry: SQLAlchemyRouterRegistry, stored: StoredRouter, model: RouterModel, goal: Goal
) -> tuple[Policy, dict[str, Any]]:
    """The policy for a goal on what the model was not trained on, and the record of its evidence.

    It is worked out once, which takes seconds, and then stands in the router's card.

    Raises:
        FloorError: if the largest tier is known to be below the floor.
        InputError: if the model has no held-out episodes.
        DatabaseError: if the database fails.
    """
    key = {"goal": goal_record(goal), "stellwerk": version("stellwerk")}
    for one in stored.card.get(_SOLUTIONS, []):
        if {name: one.get(name) for name in key} == key:
            return Policy.of(one["policy"]), one["evidence"]
    solution = goal.solve(model, model.calibration)
    policy, evidence = solution.policy.record(), solution.evidence.record()
    more = {**key, "policy": policy, "evidence": evidence}
    try:
        card = registry.find(stored.version).card  # another process may have added to it
        registry.describe(stored.version, {**card, _SOLUTIONS: [*card.get(_SOLUTIONS, []), more]})
    except DatabaseError:  # one that may only be read; it is worked out again
        _log.info("the policy for %s could not be kept", key["goal"], exc_info=True)
    return solution.policy, evidence


def registered_router(settings: Settings, ladder: Ladder, state: State) -> LearnedRouter | None:
    """The learned router in a state of the registry, made for the settings' goal; None if there is none.

    Raises:
        ConfigurationError: if it knows no tier of the ladder, or has them in another order, or the settings
            set no goal.
        FloorError: if the goal cannot be reached.
        DatabaseError: if the database fails.
        ModelFileError: if its file cannot be used.
    """
    place = settings.place
    if isinstance(place, Path) and not place.exists():
        return None
    with SQLAlchemyRouterRegistry.from_url(place) as registry:
        stored = registry.in_state(state)
        if stored is None:
            return None
        model = model_of(registry, stored)
        check_tiers(model, ladder)
        policy, evidence = solved(registry, stored, model, goal_of(settings.router))
    if not evidence["met"]:
        _log.warning("router %s: %s", stored.version[:12], evidence["why"])
    explore = settings.router.explore if state == "active" else 0.0
    return LearnedRouter(model, policy, explore=explore)


def check_tiers(model: RouterModel, ladder: Ladder) -> None:
    """Check that a model fits a ladder.

    Raises:
        ConfigurationError: if they share no tier, or those they share stand in another order.
    """
    known: Sequence[str] = [name for name in ladder.names if name in model.tiers]
    if not known:
        raise ConfigurationError(
            f"the router {model.digest[:12]} was trained for {', '.join(model.tiers)}, and the ladder has "
            f"{', '.join(ladder.names)}; train one with traces of this ladder"
        )
    if known != [name for name in model.tiers if name in known]:
        raise ConfigurationError(
            f"the router {model.digest[:12]} was trained for {' < '.join(model.tiers)}, and the ladder has "
            f"{' < '.join(known)}; train one with the tiers in this order"
        )
