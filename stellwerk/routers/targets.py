"""Targets: what a router's model is to predict of each tier, and how much each trace counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.logistic import Array
from stellwerk.routers.signals import OUTSIDE

_TAKEN = 0.9  # how right an accepted answer is taken to be where no answer of its tier has a label
_TAKEN_WEIGHT = 2.0  # labels that this counts for
_LATER = 0.3  # weight of an outcome that was seen only because another tier failed, or was doubted


@dataclass(frozen=True, slots=True)
class Targets:
    """One row an episode, one column a tier; a weight of 0 where nothing is known.

    Args:
        right: how right the answer is, 0 if it was rejected.
        right_weight: of each.
        accept: whether it was accepted.
        accept_weight: of each.
        logs: logarithms of tokens, seconds and USD, in this order along the first axis.
        logs_weight: of each.
    """

    right: Array
    right_weight: Array
    accept: Array
    accept_weight: Array
    logs: Array
    logs_weight: Array


@dataclass(frozen=True, slots=True)
class Trust:
    """How rightness is told from the outcomes of a tier.

    A rejected answer is always known to be wrong, and an accepted one seldom known to be right. So those
    that are known stand for the others too; else a tier would seem worse the fewer labels it has.

    Args:
        supposed: how right an accepted answer without a label is taken to be.
        labelled: what the weight of a label is multiplied with.
        unlabelled: weight of an accepted answer without one.
    """

    supposed: float
    labelled: float
    unlabelled: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], *, unlabelled: float, most: float) -> Trust:
        """From all outcomes of a tier.

        Args:
            outcomes: of the tier.
            unlabelled: weight that an accepted answer without a label should have.
            most: how many others a label may stand for.
        """
        accepted = [outcome for outcome in outcomes if outcome.accepted]
        labels = [outcome.label for outcome in accepted if outcome.label is not None]
        weight = sum(label.weight for label in labels)
        right = sum(label.right * label.weight for label in labels)
        without = len(accepted) - len(labels)
        factor = min(max(len(accepted) - unlabelled * without, 0.0) / weight, most) if weight > 0 else 0.0
        rest = (len(accepted) - factor * weight) / without if without else 0.0
        return cls((right + _TAKEN * _TAKEN_WEIGHT) / (weight + _TAKEN_WEIGHT), factor, rest)

    def rightness(self, outcome: Outcome) -> tuple[float, float]:
        """How right an answer is, and the weight of that; the weight is 0 where the attempt says nothing."""
        if not outcome.accepted:
            return 0.0, float(outcome.reason not in OUTSIDE)
        if outcome.label is not None:
            return outcome.label.right, outcome.label.weight * self.labelled
        return self.supposed, self.unlabelled


def trusts(
    episodes: Sequence[Episode], tiers: Sequence[str], *, unlabelled: float, most: float
) -> list[Trust]:
    """One a tier; see `Trust.of`."""
    by_tier: dict[str, list[Outcome]] = {tier: [] for tier in tiers}
    for episode in episodes:
        for outcome in episode.outcomes:
            if outcome.tier in by_tier:
                by_tier[outcome.tier].append(outcome)
    return [Trust.of(outcomes, unlabelled=unlabelled, most=most) for outcomes in by_tier.values()]


def targets(
    episodes: Sequence[Episode], tiers: Sequence[str], trusted: Sequence[Trust], *, clip: float
) -> Targets:
    """Targets of episodes.

    Outcomes of an episode that is not complete count 1 / propensity times, since the router chose what is
    seen (Horvitz and Thompson 1952); the weights of a tier are scaled to sum up to what they would without.

    Args:
        episodes: the rows.
        tiers: the columns.
        trusted: how rightness is told, one a tier.
        clip: bound of 1 / propensity.
    """
    shape = (len(episodes), len(tiers))
    right, right_weight, accept, accept_weight = (np.zeros(shape) for _ in range(4))
    logs, logs_weight = np.zeros((3, *shape)), np.zeros((3, *shape))
    plain, inverse = np.zeros(shape), np.zeros(shape)
    place = {tier: index for index, tier in enumerate(tiers)}
    for row, episode in enumerate(episodes):
        seen: set[int] = set()
        chance = 1.0
        for turn, outcome in enumerate(episode.outcomes):
            chance *= outcome.propensity
            column = place.get(outcome.tier)
            if column is None or column in seen:
                continue
            seen.add(column)
            value, weight = trusted[column].rightness(outcome)
            right[row, column], right_weight[row, column] = value, weight
            accept[row, column] = outcome.accepted
            accept_weight[row, column] = outcome.reason not in OUTSIDE
            plain[row, column] = 1.0
            inverse[row, column] = 1.0
            if not episode.complete:
                inverse[row, column] = min(1 / chance, clip) * (_LATER if turn else 1.0)
            for kind, figure in enumerate((outcome.output, outcome.seconds, outcome.usd)):
                if figure > 0:
                    logs[kind, row, column] = math.log(figure)
                    logs_weight[kind, row, column] = 1.0
    factor = inverse * (plain.sum(axis=0) / np.maximum(inverse.sum(axis=0), 1e-9))
    return Targets(right, right_weight * factor, accept, accept_weight * factor, logs, logs_weight)
