"""A corpus: subtasks on which every tier was tried, so that any router can be replayed on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routing_context import RoutingContext

Array = NDArray[np.float64]
Episodes = Sequence[Episode]


@dataclass(frozen=True)
class Corpus:
    """Complete episodes with the names of their tiers, cheapest first."""

    name: str
    tiers: tuple[str, ...]
    episodes: tuple[Episode, ...]


def context(worker: str, instruction: str, *, max_tokens: int) -> RoutingContext:
    """The context of a lone subtask that answers in free text."""
    return RoutingContext(
        worker=worker,
        worker_version="1",
        instruction=instruction,
        prompt=0,
        fields=1,
        choices=0,
        depth=0,
        tools=[],
        max_tokens=max_tokens,
        source=0,
        inputs=0,
        position=0,
        size=1,
    )


def texts(episodes: Episodes) -> list[str]:
    """What a router that knows nothing but text gets to read: the job and the names of the tools."""
    return [" ".join([e.context["instruction"], *e.context["tools"]]) for e in episodes]


def right(episodes: Episodes, tiers: Sequence[str]) -> Array:
    """How right each tier is on each episode; shape (episodes, tiers)."""
    return np.array([[_label(episode, tier) for tier in tiers] for episode in episodes], dtype=np.float64)


def usd(episodes: Episodes, tiers: Sequence[str]) -> Array:
    """What each tier costs on each episode, in USD; shape (episodes, tiers)."""
    return np.array([[_outcome(e, tier).usd for tier in tiers] for e in episodes], dtype=np.float64)


def _outcome(episode: Episode, tier: str) -> Outcome:
    found = episode.outcome(tier)
    assert found is not None, f"{episode.id} lacks {tier}"
    return found


def _label(episode: Episode, tier: str) -> float:
    label = _outcome(episode, tier).label
    assert label is not None, f"{episode.id} has no label for {tier}"
    return float(label.right)
