"""Why a router expects what it does of a subtask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stellwerk.decision import Decision
from stellwerk.routers.model import RouterModel
from stellwerk.routers.neighbours import Neighbour
from stellwerk.routing_context import RoutingContext

ALIKE = "subtasks like it"
SHAPE = "its words and shape together"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A decision and what led to it.

    Args:
        sentence: the decision's reason.
        decision: what was, or would be, decided.
        contributions: per tier, the features that count most and how far each moves the log odds that its
            answer is right; the largest first.
        neighbours: the nearest past subtasks with what came of them, the nearest first.
    """

    sentence: str
    decision: Decision
    contributions: Mapping[str, tuple[tuple[str, float], ...]]
    neighbours: tuple[Neighbour, ...]


def contributions(
    model: RouterModel, context: RoutingContext, count: int
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Per tier, what moves the log odds that its answer is right, the largest first.

    Args:
        model: whose estimate it is.
        context: of the subtask.
        count: features a tier.
    """
    encoded = model.encode(context)
    moved = encoded.weights[:, None] * model.linear[encoded.indices]
    alike, shaped = model.alike(encoded), model.shaped(encoded)
    told = {}
    for place, tier in enumerate(model.tiers):
        by_feature = moved[:, place] * model.stack[place, 1]
        first = np.argsort(-np.abs(by_feature), kind="stable")[:count].tolist()
        named = [(model.features.name(int(encoded.indices[at])), float(by_feature[at])) for at in first]
        named.append((ALIKE, float(model.stack[place, 2] * alike[place])))
        named.append((SHAPE, float(model.stack[place, 3] * shaped[place])))
        told[tier] = tuple(sorted(named, key=lambda pair: -abs(pair[1]))[:count])
    return told


def nearest(model: RouterModel, context: RoutingContext, count: int) -> tuple[Neighbour, ...]:
    """The nearest past subtasks, the nearest first."""
    return tuple(model.neighbours.nearest(model.encode(context).dense, count))
