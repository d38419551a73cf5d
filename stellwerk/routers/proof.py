"""What the replays of one policy prove about how right its served answers are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.routers.betting import positive_p_value
from stellwerk.routers.bounds import at_least, fractional_p_value, labels_needed
from stellwerk.routers.replay_table import ReplayTable

_MOST = 1_000_000  # values that are tried out


@dataclass(frozen=True, slots=True)
class Proof:
    """Tests on one policy's replays.

    Which test serves depends on the episodes alone: exact binomial where each answer is right or wrong and
    stands by itself; Hoeffding-Bentkus where labels are fractions; betting on the means of groups, where
    episodes come in groups, and on weighted values, where they are logged. In a logged episode that the log
    could not have led where the policy goes, the policy counts as wrong.

    Args:
        table: replays.
        row: of the policy.
        largest: row of the policy that takes the largest tier, for a floor relative to it; else None.
        level: chance of error at which p-values will be wanted.
    """

    table: ReplayTable
    row: int
    largest: int | None = None
    level: float = 0.05

    @property
    def answers(self) -> int:
        """How many served answers have a label that counts."""
        return int(self._labelled.sum())

    @property
    def units(self) -> int:
        """How many independent observations they are: groups, or episodes."""
        return len(np.unique(self.table.group[self._labelled])) if self.table.grouped else self.answers

    @property
    def rate(self) -> float:
        """How right the answers are, averaged as the test does; relative to the largest tier where asked."""
        if not self.answers:
            return math.nan
        if self.largest is not None:
            reached, largest = self._pair()
            return float(reached.mean() / largest.mean()) if largest.any() else math.nan
        if self.table.weighted:
            return self.table.rightness_of(self.row)
        return float(self._means(self._right, self._labelled).mean())

    def p_value(self, floor: float) -> float:
        """The p-value of 'the served answers are right no more often than the floor'; 1.0 without labels."""
        if not self.answers:
            return 1.0
        if self.largest is not None:
            reached, largest = self._pair()
            low = -floor * self._heaviest
            return positive_p_value(_shuffled(reached - floor * largest), low, self.level)
        if self.table.weighted:
            low = -floor * self._heaviest
            return positive_p_value(_shuffled(self._weighted(floor)), low, self.level)
        values = self._means(self._right, self._labelled)
        if self.table.grouped:
            return positive_p_value(_shuffled(values - floor), -floor, self.level)
        if np.isin(values, (0.0, 1.0)).all():
            return at_least(int(values.sum()), len(values), floor)
        return fractional_p_value(float(values.mean()), len(values), floor)

    def lower_bound(self) -> float:
        """The highest floor that is proven at the level; 0.0 without labels."""
        low, high = 0.0, 1.0 if self.largest is None else 2.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self.p_value(middle) <= self.level else (low, middle)
        return low

    def below(self, floor: float) -> bool:
        """Whether the answers are known to be right less often than the floor; false where no test says."""
        if not self.answers or self.largest is not None or self.table.weighted:
            return False
        values = 1.0 - self._means(self._right, self._labelled)
        if np.isin(values, (0.0, 1.0)).all():
            return at_least(int(values.sum()), len(values), 1 - floor) <= self.level
        return fractional_p_value(float(values.mean()), len(values), 1 - floor) <= self.level

    def upper_bound(self) -> float:
        """The lowest floor that the answers are known to be below, where there is a test; see `below`."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if self.below(middle) else (middle, high)
        return high

    def missing(self, floor: float) -> int | None:
        """About how many more labels prove the floor at the same rate; None where no number does."""
        if not self.answers:
            return None if self.largest is not None else labels_needed(floor, 1 - self.level)
        if self.largest is not None or self.table.weighted:
            if self.largest is not None:
                reached, largest = self._pair()
                values = reached - floor * largest
            else:
                values = self._weighted(floor)
            return _more(_shuffled(values), -floor * self._heaviest, self.level)
        exact = labels_needed(floor, 1 - self.level, self.rate)
        return None if exact is None else max(1, exact - self.units)

    @property
    def _labelled(self) -> NDArray[np.bool_]:
        return np.asarray(self.table.known[self.row] & self.table.served[self.row])

    @property
    def _right(self) -> NDArray[np.float64]:
        return np.asarray(self.table.right[self.row])

    @property
    def _heaviest(self) -> float:
        """The largest weight there is. Seen, not known before, so a test on logs is exact but for that."""
        rows = [self.row] if self.largest is None else [self.row, self.largest]
        return max(1.0, float(self.table.weight[rows].max()), float(self.table.lost[rows].max()))

    def _means(self, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Means of the chosen values within their groups."""
        if not self.table.grouped:
            return np.asarray(values[chosen])
        _, group = np.unique(self.table.group[chosen], return_inverse=True)
        counts = np.bincount(group)
        return np.asarray(np.bincount(group, weights=values[chosen]) / counts, dtype=np.float64)

    def _weighted(self, floor: float) -> NDArray[np.float64]:
        """Per group a value whose mean is above 0 if and only if the served answers reach the floor."""
        table, row = self.table, self.row
        values = table.weight[row] * self._labelled * (table.right[row] - floor) - floor * table.lost[row]
        # Nobody says of these: left out, as if labels were missing by chance.
        return self._means(values, table.known[row] | (table.weight[row] == 0.0))

    def _labelled_share(self, row: int) -> float:
        """The weight of a policy's labelled answers, of that of all that it serves."""
        table = self.table
        served = table.weight[row] * table.served[row]
        return float((served * table.known[row]).sum() / served.sum()) if served.any() else 0.0

    def _pair(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How right the policy and the largest tier are, per group, on the same episodes.

        What a policy leaves unserved counts as wrong, unless it may abstain.
        """
        table, row, other = self.table, self.row, self.largest
        assert other is not None
        weight, lost = table.weight, table.lost
        chosen = (table.known[row] | (weight[row] == 0.0)) & (table.known[other] | (weight[other] == 0.0))
        if table.policies[row].serve > 0.0 and not table.weighted:
            chosen &= table.served[row]
        if not table.weighted:
            chosen &= table.known[row] & table.known[other]
        reached, largest = weight[row] * table.right[row], weight[other] * table.right[other]
        if table.weighted:
            # Each mean is that of the labelled answers times their share, which may differ by tier.
            shares = [self._labelled_share(at) for at in (row, other)]
            reached = reached * min(1.0, shares[1] / shares[0]) if shares[0] else reached
            largest = largest * min(1.0, shares[0] / shares[1]) if shares[1] else largest
        # Of an episode that does not show the largest tier, the largest tier counts as right.
        largest = largest + lost[other]
        return self._means(reached, chosen), self._means(largest, chosen)


def _more(values: NDArray[np.float64], low: float, level: float) -> int | None:
    """How many more such values prove that their mean is above 0, tried out by repeating those there are."""
    if values.mean() <= 0:
        return None
    times = 2
    while positive_p_value(np.tile(values, times), low, level) > level:
        if len(values) * times > _MOST:
            return None
        times *= 2
    low_times = times // 2
    while times - low_times > 1:
        middle = (low_times + times) // 2
        proves = positive_p_value(np.tile(values, middle), low, level) <= level
        low_times, times = (low_times, middle) if proves else (middle, times)
    return len(values) * (times - 1)


def _shuffled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In an order that has nothing to do with the values: bets on sorted ones would be worth nothing."""
    return values[np.random.default_rng(0).permutation(len(values))]
