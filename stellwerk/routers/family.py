"""Families of policies: one dial, from everything on the largest tier to the cheapest way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from stellwerk.errors import InputError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.policy import Policy

_HIGHEST = 500.0
"""Times the cost of the largest tier: there an attempt on it is worth a gain of one right answer in 500."""


def family(
    model: Believes, episodes: Sequence[Episode], policy: Policy, *, dials: int = 120
) -> tuple[Policy, ...]:
    """The policy at several prices, the most careful first.

    No outcome of an episode is looked at, so tests of one policy after the other may use the same episodes.
    Prices are powers of two on a grid that is the same whatever the episodes are; their expected costs say
    where it begins and ends, beyond which further prices would change nothing.

    Args:
        model: says what an attempt on each tier is expected to cost.
        episodes: whose subtasks are looked at.
        policy: its price is replaced; the rest stays.
        dials: how many prices there are, about. Tests in sequence cost nothing in proof, and replays take
            no more than the prices at which an episode's plan changes.

    Raises:
        InputError: there are no episodes, or the tiers cost nothing, so that there is nothing to weigh.
    """
    if not episodes:
        raise InputError("there are no episodes to set a policy on; label some that no model was trained on")
    totals = [0.0] * len(model.tiers)
    for episode in episodes:
        belief = model.belief(model.prior(episode.context), ())
        for place, usd in enumerate(belief.usd):
            totals[place] += usd + policy.usd_per_second * belief.seconds[place]
    costs = sorted(total / len(episodes) for total in totals if total > 0)
    if not costs:
        raise InputError(
            "every tier is expected to cost nothing, so no price of failures changes anything; give the tiers"
            " a price, or set usd_per_second"
        )
    low, high = math.log2(costs[0] / 2), math.log2(costs[-1] * _HIGHEST)
    step = max(1, math.ceil(16 * (high - low) / dials)) / 16
    first, last = math.floor(low / step), math.ceil(high / step)
    return (policy.largest(), *(policy.at(2.0 ** (n * step)) for n in range(last, first - 1, -1)))


def abstaining(policies: Sequence[Policy], serve: Sequence[float]) -> list[tuple[Policy, ...]]:
    """The same policies at several thresholds below which no answer is served."""
    return [tuple(replace(policy, serve=threshold) for policy in policies) for threshold in serve]
