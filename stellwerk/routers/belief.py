"""Beliefs: what a router expects of each tier, and of each answer it has in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stellwerk.routers.episode import Outcome
from stellwerk.routing_context import RoutingContext


@dataclass(frozen=True, slots=True)
class Belief:
    """What is expected, given the attempts so far. Sequences are in the order of the ladder's tiers.

    Args:
        right: per tier, the probability that its answer would be accepted and right, if it were tried next;
            of a tier that was tried, that of its last answer.
        accept: per tier, the probability that the checks would take its answer; 0.0 or 1.0 once tried.
        usd: per tier, what an attempt is expected to cost.
        seconds: per tier, how long its calls are expected to take.
        tokens: per tier, how many an answer is expected to have.
        answers: per attempt so far, the probability that its answer is right; 0.0 of a rejected one.
    """

    right: Sequence[float]
    accept: Sequence[float]
    usd: Sequence[float]
    seconds: Sequence[float]
    tokens: Sequence[float]
    answers: Sequence[float] = ()


class Believes(Protocol):
    """Forms beliefs; a trained model does."""

    @property
    def tiers(self) -> Sequence[str]:
        """Names of the tiers, cheapest first."""
        ...

    def prior(self, context: RoutingContext) -> Any:
        """What the context alone says: worked out once for a subtask, and passed on to `belief`."""
        ...

    def belief(self, prior: Any, outcomes: Sequence[Outcome]) -> Belief:
        """What is expected after those attempts, oldest first."""
        ...
