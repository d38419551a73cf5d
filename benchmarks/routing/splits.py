"""Splits: what a router learns from, what its thresholds are set on, and what it is judged on.

No episode, and no unit of episodes that must stay together, stands on two sides of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.routing.corpus import Episodes
from stellwerk.errors import InputError
from stellwerk.routers.episode import Episode

Unit = Callable[[Episode], str]


def by_text(episode: Episode) -> str:
    """Episodes with the same text stay together: some questions are there twice."""
    return episode.context["instruction"]


def by_function(episode: Episode) -> str:
    """Episodes whose first function is the same stay together."""
    return episode.context["tools"][0] if episode.context["tools"] else by_text(episode)


def by_group(episode: Episode) -> str:
    """Episodes of one group stay together."""
    return episode.group or by_text(episode)


@dataclass(frozen=True)
class Split:
    """Three disjoint sides."""

    train: tuple[Episode, ...]
    validation: tuple[Episode, ...]
    test: tuple[Episode, ...]


def grouped(split: Split, unit: Unit) -> Split:
    """The split; what it keeps together are the episodes' groups, so that training keeps it together too."""
    sides = (
        tuple(replace(episode, group=unit(episode)) for episode in side)
        for side in (split.train, split.validation, split.test)
    )
    return Split(*sides)


def random_split(episodes: Episodes, sizes: tuple[int, int], unit: Unit, seed: int) -> Split:
    """At least so many episodes to train and to validate on, as units allow; the others are the test.

    Raises:
        InputError: There are not enough episodes.
    """
    if sum(sizes) >= len(episodes):
        raise InputError(f"{len(episodes)} episodes are not enough for {sizes[0]} and {sizes[1]} and a test")
    sides: list[list[Episode]] = [[], [], []]
    side = 0
    for members in _shuffled_units(episodes, unit, seed):
        while side < 2 and len(sides[side]) >= sizes[side]:
            side += 1
        sides[side] += members
    return Split(*map(tuple, sides))


def folds(
    episodes: Episodes, count: int, unit: Unit, seed: int, *, validation: float = 0.15
) -> Iterator[Split]:
    """Each fold is the test once; of the others a share validates, and the rest trains.

    Folds are filled unit by unit, the largest first, each into the fold with the fewest episodes.
    """
    units = _shuffled_units(episodes, unit, seed)
    parts: list[list[list[Episode]]] = [[] for _ in range(count)]
    sizes = [0] * count
    for members in sorted(units, key=len, reverse=True):
        place = sizes.index(min(sizes))
        parts[place].append(members)
        sizes[place] += len(members)
    for place, part in enumerate(parts):
        test = tuple(episode for members in part for episode in members)
        rest = [members for other, part in enumerate(parts) if other != place for members in part]
        order = np.random.default_rng(seed * 1_000 + place).permutation(len(rest))
        wanted = validation * sum(map(len, rest))
        sides: tuple[list[Episode], list[Episode]] = ([], [])
        for index in order:
            fits = len(sides[0]) + len(rest[index]) <= max(wanted, 1)
            sides[0 if fits else 1].extend(rest[index])
        yield Split(train=tuple(sides[1]), validation=tuple(sides[0]), test=test)


def _shuffled_units(episodes: Episodes, unit: Unit, seed: int) -> list[list[Episode]]:
    units: dict[str, list[Episode]] = {}
    for episode in episodes:
        units.setdefault(unit(episode), []).append(episode)
    members = list(units.values())
    return [members[index] for index in np.random.default_rng(seed).permutation(len(members))]
