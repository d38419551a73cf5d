"""Folds: parts of the episodes such that those of a group stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stellwerk.routers.episode import Episode


def position(episode: Episode, seed: int, purpose: str) -> float:
    """A number in [0, 1) that depends on the episode's group, or on its id where it has none."""
    text = f"{purpose}:{seed}:{'group' if episode.group else 'id'}:{episode.group or episode.id}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split(episodes: Sequence[Episode], share: float, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Episodes to train on, and the held-out ones. A group is on the same side whatever else there is."""
    kept = [episode for episode in episodes if position(episode, seed, "holdout") >= share]
    held = [episode for episode in episodes if position(episode, seed, "holdout") < share]
    return kept, held


def folds(episodes: Sequence[Episode], count: int, seed: int) -> NDArray[np.int64]:
    """The part that each episode belongs to, from 0. Parts are about equal where groups are small."""
    sizes: dict[tuple[bool, str], int] = {}
    keys = [(bool(episode.group), episode.group or episode.id) for episode in episodes]
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    at = {key: position(episode, seed, "fold") for key, episode in zip(keys, episodes, strict=True)}
    loads = [0] * count
    part: dict[tuple[bool, str], int] = {}
    for key in sorted(sizes, key=lambda key: (-sizes[key], at[key])):
        part[key] = loads.index(min(loads))
        loads[part[key]] += sizes[key]
    return np.asarray([part[key] for key in keys], np.int64)
