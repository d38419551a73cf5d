"""What the settings name: workers by import path, the router, the budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from stellwerk.budget import Budget, RunBudget
from stellwerk.errors import ConfigurationError, StellwerkError
from stellwerk.routers.exploring import Exploring
from stellwerk.routers.router import Router
from stellwerk.routers.shadowed import Shadowed
from stellwerk.routers.smallest_first import Fixed, SmallestFirst
from stellwerk.settings import Settings
from stellwerk.settings.explain import near
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker
from stellwerk.workers import (
    calculate_worker,
    extract_worker,
    look_up_worker,
    summarise_worker,
    write_worker,
)

_log = logging.getLogger(__name__)

# `classify` is left out: it needs labels.
READY_MADE: dict[str, Callable[[], Worker]] = {
    "look_up": look_up_worker,
    "calculate": calculate_worker,
    "extract": extract_worker,
    "summarise": summarise_worker,
    "write": write_worker,
}


def declared_workers(settings: Settings) -> list[Worker]:
    """The workers that the settings name; those with an import path are imported here, which runs code.

    Raises:
        ConfigurationError: naming the path that leads to no worker, or the name that no ready-made one has.
    """
    return [_worker(path) for path in settings.workers]


def check_names(settings: Settings, ladder: Ladder) -> None:
    """Check the names of ready-made workers and of tiers, as far as that goes without importing a worker.

    Raises:
        ConfigurationError: if the settings name a ready-made worker or a tier that is not there.
    """
    for path in settings.workers:
        if ":" not in path:
            _worker(path)
    _check_tiers(settings, ladder)


def declared_router(
    settings: Settings, workers: Sequence[Worker], ladder: Ladder, *, default: Router
) -> Router:
    """The router that the settings name.

    Args:
        settings: which router, with what.
        workers: that there are.
        ladder: the tiers that there are.
        default: where the settings leave it open, or name a learned router and none was promoted yet.

    Raises:
        ConfigurationError: if it names a tier or a worker that is not there.
        FloorError: if a learned router cannot reach the floor.
        DatabaseError: if the database of the learned router fails.
        ModelFileError: if the learned router's file cannot be used.
    """
    router, names = settings.router, [worker.name for worker in workers]
    _check_tiers(settings, ladder)
    for name in router.start:
        if name not in names:
            known = f"{near(name, names)}workers: {', '.join(names)}"
            raise ConfigurationError(f"router.start.{name}: there is no such worker; {known}")
    if router.tier is not None:
        return _beside(settings, ladder, Fixed(router.tier))
    if router.name == "learned":
        from stellwerk.graphs.learned import registered_router  # with it comes numpy

        if (learned := registered_router(settings, ladder, "active")) is not None:
            return _beside(settings, ladder, learned)
        _log.warning(
            "no router is promoted yet, so the smallest tier goes first; see: stellwerk router train --help"
        )
    cold: Router = SmallestFirst(router.start) if router.start else default
    return _beside(settings, ladder, Exploring(cold, router.explore) if router.explore else cold)


def _beside(settings: Settings, ladder: Ladder, active: Router) -> Router:
    """With the router in the shadow, where the settings want one and there is one that can be used."""
    if not settings.router.shadow:
        return active
    from stellwerk.graphs.learned import registered_router

    try:
        shadow = registered_router(settings, ladder, "shadow")
    except StellwerkError as error:  # what is not followed is no reason for a run to fail
        _log.warning("no router decides in the shadow: %s", error)
        return active
    return active if shadow is None else Shadowed(active, shadow)


def declared_budget(settings: Settings) -> Budget | None:
    """The budget that the settings set; None where they set none."""
    limits = settings.budget.model_dump(exclude_none=True)
    return Budget(**limits) if limits else None


def declared_run_budget(settings: Settings) -> RunBudget:
    """The budget of a run that the settings set."""
    return RunBudget(**settings.run_budget.model_dump())


def _check_tiers(settings: Settings, ladder: Ladder) -> None:
    router = settings.router
    named = {f"router.start.{worker}": tier for worker, tier in router.start.items()}
    if router.tier is not None:
        named["router.tier"] = router.tier
    for key, tier in named.items():
        try:
            ladder.tier(tier)
        except ConfigurationError as error:
            raise ConfigurationError(f"{key}: {error}") from None


def _worker(path: str) -> Worker:
    module, colon, name = path.partition(":")
    if not colon:
        if (make := READY_MADE.get(path)) is None:
            raise ConfigurationError(
                f"workers: there is no ready-made worker {path!r}; {near(path, READY_MADE)}"
                f"there are {', '.join(READY_MADE)}; one of your own is package.module:worker"
            )
        return make()
    found = _import(path, module, name)
    if isinstance(found, Worker):
        return found
    if not callable(found) or isinstance(found, type):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise ConfigurationError(
            f"workers: {path} is {kind}; it has to be a Worker, or a function that makes one"
        )
    try:
        made = found()
    except Exception as error:
        raise ConfigurationError(f"workers: {path}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, Worker):
        raise ConfigurationError(
            f"workers: {path}() gave something of type {type(made).__name__}; it has to give a Worker"
        )
    return made


def _import(path: str, module: str, name: str) -> Any:
    try:
        found: Any = import_module(module)
    except Exception as error:
        # A module may raise anything while it is run.
        raise ConfigurationError(
            f"workers: {path}: {module} cannot be imported ({type(error).__name__}: {error}); it has to be "
            "installed, or on PYTHONPATH: the working directory is not searched by itself"
        ) from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [known for known in dir(found) if not known.startswith("_")]
            said = f"workers: {path}: {module} has no {part}; {near(part, names)}"
            raise ConfigurationError(said.rstrip("; ")) from None
    return found
