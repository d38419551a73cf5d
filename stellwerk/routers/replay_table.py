"""The replays of several policies over many episodes, as arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.errors import InputError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.policy import Policy
from stellwerk.routers.replay import Player

_BY_POLICY = ("known", "served", "right", "usd", "seconds", "weight", "lost")

MOST_LOST = 0.01
"""Share of logged episodes in which a policy may go where the log never did, and still be judged by them."""

FEWEST = 50.0
"""Effective sample size of logged episodes, after Kish, below which intervals are too short."""

PROVING = ("gold", "person", "judge")
"""Sources of labels that say whether an answer is right, not just that it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTable:
    """Replays; arrays have the shape (policies, episodes).

    Args:
        policies: what was replayed.
        known: the episode shows what the policy would do, and somebody says whether the answer is right.
        served: whether an answer is served.
        right: how right it is, times how far its label is believed; 0.0 if nothing is served or known.
        usd: what all attempts cost.
        seconds: they took.
        weight: see `Replay`.
        lost: see `Replay`.
        group: per episode, the number of its group; one without a group is its own.
        grouped: whether some episodes share a group.
    """

    policies: tuple[Policy, ...]
    known: NDArray[np.bool_]
    served: NDArray[np.bool_]
    right: NDArray[np.float64]
    usd: NDArray[np.float64]
    seconds: NDArray[np.float64]
    weight: NDArray[np.float64]
    lost: NDArray[np.float64]
    group: NDArray[np.int64]
    grouped: bool

    def __len__(self) -> int:
        """How many episodes there are."""
        return len(self.group)

    @property
    def weighted(self) -> bool:
        """Whether some episodes are logged ones, known only where the policy does as the log did."""
        return bool((self.weight != 1.0).any())

    def tells_of(self, row: int) -> bool:
        """Whether the episodes tell what a policy costs; see `MOST_LOST` and `FEWEST`."""
        if not self.weighted:
            return True
        weight = self.weight[row]
        effective = float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0
        return float(self.lost[row].mean()) <= MOST_LOST and effective >= FEWEST

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> ReplayTable:
        """The table of some of the episodes."""
        group = self.group[places]
        arrays = {name: getattr(self, name)[:, places] for name in _BY_POLICY}
        return ReplayTable(policies=self.policies, group=group, grouped=_shared(group), **arrays)

    def usd_of(self, row: int) -> float:
        """What a policy costs on average; of logged episodes the self-normalised estimate. NaN if unknown."""
        return self._mean(self.usd, row)

    def seconds_of(self, row: int) -> float:
        """How long a policy takes on average, likewise."""
        return self._mean(self.seconds, row)

    def coverage_of(self, row: int) -> float:
        """The share of episodes in which a policy serves an answer, likewise."""
        return self._mean(self.served.astype(np.float64), row)

    def rightness_of(self, row: int) -> float:
        """How right the served answers of a policy are on average, likewise."""
        weights = self.weight[row] * (self.known[row] & self.served[row])
        return float((weights * self.right[row]).sum() / weights.sum()) if weights.sum() else float("nan")

    def _mean(self, values: NDArray[np.float64], row: int) -> float:
        weights = self.weight[row]
        return float((weights * values[row]).sum() / weights.sum()) if weights.sum() else float("nan")


def replay_table(
    policies: Sequence[Policy],
    model: Believes,
    episodes: Sequence[Episode],
    *,
    sources: Collection[str] = PROVING,
) -> ReplayTable:
    """Plays each policy over each episode.

    Args:
        policies: to be replayed; each is played once an episode, so re-splits of the table cost no replay.
        model: forms the beliefs.
        episodes: which the model has not been trained on.
        sources: labels of other sources count as unknown.

    Raises:
        InputError: there are no episodes.
    """
    if not episodes:
        raise InputError(
            "there are no episodes to replay; label some traces that the model was not trained on"
        )
    player = Player(model)
    shape = (len(policies), len(episodes))
    known, served = (np.zeros(shape, dtype=np.bool_) for _ in range(2))
    right, usd, seconds, weight, lost = (np.zeros(shape, dtype=np.float64) for _ in range(5))
    for column, episode in enumerate(episodes):
        for row, played in enumerate(player.play(policies, episode)):
            proving = played.served is None or played.source in sources
            known[row, column] = played.known and proving
            served[row, column] = played.served is not None
            right[row, column] = (played.right or 0.0) * played.sure * proving
            usd[row, column] = played.usd
            seconds[row, column] = played.seconds
            weight[row, column] = played.weight
            lost[row, column] = played.lost
    group = groups_of(episodes)
    return ReplayTable(
        policies=tuple(policies),
        known=known,
        served=served,
        right=right,
        usd=usd,
        seconds=seconds,
        weight=weight,
        lost=lost,
        group=group,
        grouped=_shared(group),
    )


def groups_of(episodes: Sequence[Episode]) -> NDArray[np.int64]:
    """Numbers of the episodes' groups; an episode without a group is its own."""
    numbers: dict[tuple[bool, str], int] = {}
    keys = ((bool(episode.group), episode.group or episode.id) for episode in episodes)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _shared(group: NDArray[np.int64]) -> bool:
    return len(np.unique(group)) < len(group)
