"""Neighbours: past contexts that are like a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stellwerk.routers.terms import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """A past subtask, and what came of it.

    Args:
        id: of the episode.
        worker: who did it.
        instruction: its beginning; empty where the content of traces is not kept.
        right: per tier that was tried, how right the answer was by what is known; 0.0 if it was rejected.
        distance: 0 for the same words, about 1.4 for none in common.
        trace_ids: of the attempts.
    """

    id: str
    worker: str
    instruction: str
    right: Mapping[str, float]
    distance: float = 0.0
    trace_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """An index of past contexts.

    Args:
        places: their dense features, one row each.
        known: what is told of each.
    """

    places: Floats
    known: tuple[Neighbour, ...]

    def nearest(self, place: Floats, count: int) -> list[Neighbour]:
        """The nearest ones with their distance, the nearest first."""
        if not self.known:
            return []
        away = np.sqrt(((self.places - place) ** 2).sum(axis=1))
        order = np.argsort(away, kind="stable")[:count].tolist()
        return [replace(self.known[index], distance=float(away[index])) for index in order]
