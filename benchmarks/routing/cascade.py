"""Answers that are checked by others: Mixtral answers, small models answer too, and GPT-4 is bought where
they differ.

A `Checked` model forms beliefs about two tiers, Mixtral with its verifiers and GPT-4; whose answer a verifier
gave is not served. All calls are charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.routing.corpus import Episodes
from benchmarks.routing.routellm import GPT4, MIXTRAL
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.model import RouterModel
from stellwerk.routing_context import RoutingContext


@dataclass(frozen=True)
class Checked:
    """A model of all tiers, seen as one of two: an answer that comes with its verifiers' word, and the
    largest.

    Args:
        model: of the verifiers, Mixtral and GPT-4.
        verifiers: tiers that are always called with Mixtral.
        said: per instruction, what the verifiers answered; looked up once Mixtral has answered.
    """

    model: RouterModel
    verifiers: tuple[str, ...]
    said: Mapping[str, tuple[Outcome, ...]]

    @property
    def tiers(self) -> Sequence[str]:
        """Mixtral, and GPT-4."""
        return (MIXTRAL, GPT4)

    def prior(self, context: RoutingContext) -> Any:
        """The model's, and where to look up the verifiers' answers."""
        return self.model.prior(context), context["instruction"]

    def belief(self, prior: Any, outcomes: Sequence[Outcome]) -> Belief:
        """The model's belief, cut down to the two."""
        known, instruction = prior
        said = self.said[instruction] if outcomes else ()
        belief = self.model.belief(known, (*said, *outcomes))
        places = [self.model.place(tier) for tier in self.tiers]
        usd = [belief.usd[place] for place in places]
        usd[0] += sum(belief.usd[self.model.place(tier)] for tier in self.verifiers)
        return Belief(
            right=[belief.right[place] for place in places],
            accept=[belief.accept[place] for place in places],
            usd=usd,
            seconds=[belief.seconds[place] for place in places],
            tokens=[belief.tokens[place] for place in places],
            answers=belief.answers[len(said) :],
        )


def verdicts(episodes: Episodes, verifiers: Sequence[str]) -> dict[str, tuple[Outcome, ...]]:
    """Per instruction, the outcomes of the verifiers; without their labels."""
    return {
        episode.context["instruction"]: tuple(
            replace(outcome, label=None) for outcome in episode.outcomes if outcome.tier in verifiers
        )
        for episode in episodes
    }


def charged(episodes: Episodes, verifiers: Sequence[str]) -> list[Episode]:
    """The episodes with two tiers, in which a call of Mixtral costs what its verifiers cost besides."""
    found = []
    for episode in episodes:
        extra = sum(outcome.usd for outcome in episode.outcomes if outcome.tier in verifiers)
        small, large = episode.outcome(MIXTRAL), episode.outcome(GPT4)
        assert small is not None
        assert large is not None
        found.append(replace(episode, outcomes=(replace(small, usd=small.usd + extra), large)))
    return found
