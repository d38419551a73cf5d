"""Goals of routers: from settings, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stellwerk.errors import ConfigurationError
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.goal import CostBudget, ErrorPrice, Goal
from stellwerk.settings.router import RouterSettings

_KINDS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "quality_floor": (QualityFloor, ("floor", "confidence", "relative", "coverage")),
    "usd_per_failure": (ErrorPrice, ("usd", "confidence")),
    "usd_per_subtask": (CostBudget, ("usd", "confidence")),
}


def goal_of(settings: RouterSettings) -> Goal:
    """The goal that the settings set.

    Raises:
        ConfigurationError: if they set none.
    """
    if settings.quality_floor is not None:
        return QualityFloor(
            floor=settings.quality_floor,
            confidence=settings.confidence,
            relative=settings.relative,
            coverage=settings.coverage,
        )
    if settings.usd_per_failure is not None:
        return ErrorPrice(usd=settings.usd_per_failure, confidence=settings.confidence)
    if settings.usd_per_subtask is not None:
        return CostBudget(usd=settings.usd_per_subtask, confidence=settings.confidence)
    raise ConfigurationError(
        "no goal is set: set router.quality_floor, router.usd_per_failure or router.usd_per_subtask"
    )


def goal_record(goal: Goal) -> dict[str, Any]:
    """A goal as JSON; its kind is the name of its key in the settings.

    Raises:
        ConfigurationError: if it is of no kind that settings know.
    """
    for name, (kind, fields) in _KINDS.items():
        if isinstance(goal, kind):
            return {"kind": name, **{field: getattr(goal, field) for field in fields}}
    raise ConfigurationError(
        f"a goal of type {type(goal).__name__} is in no settings; use {', '.join(_KINDS)}"
    )


def recorded_goal(record: Mapping[str, Any]) -> Goal:
    """The goal of a record."""
    kind, fields = _KINDS[record["kind"]]
    goal: Goal = kind(**{field: record[field] for field in fields})
    return goal


def goal_setting(record: Mapping[str, Any]) -> str:
    """A goal of a record as the settings have it; without what stands beside a floor."""
    return f"{record['kind']} = {record['floor' if record['kind'] == 'quality_floor' else 'usd']:g}"


def goal_text(record: Mapping[str, Any]) -> str:
    """A goal of a record in a few words."""
    match record["kind"]:
        case "quality_floor":
            of = " of what the largest tier reaches" if record["relative"] else ""
            return f"quality floor {record['floor']:.3g}{of} at {record['confidence']:.0%} confidence"
        case "usd_per_failure":
            return f"{record['usd']:g} USD a failure"
        case _:
            return f"{record['usd']:g} USD a subtask"
