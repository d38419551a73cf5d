"""Replay: what a policy would have done in an episode, and what would have come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stellwerk.routers.belief import Belief, Believes
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One attempt of a replay: what was expected before and after it, and how likely the log had it.

    Args:
        weight: one over the propensity of all attempts up to this one.
        usd: what the attempt cost.
        seconds: it took.
        right: change in the chance that the policy's plan serves a right answer.
        ahead: change in what the plan was expected to cost from there on, in USD.
    """

    weight: float
    usd: float
    seconds: float
    right: float
    ahead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a policy does in an episode.

    A logged episode is known as far as the policy does what the log did. Where an attempt it would make was
    not made, `weight` is 0.0; and `lost` is above 0.0 where the log could not have made it, so that no number
    of such episodes tells what comes of it.

    Args:
        tiers: places of the tiers that are tried, in order.
        served: place among the attempts of the answer that is served, or None.
        right: how right the served answer is; 0.0 where none is served; None where nobody says.
        sure: how far the label is believed; 1.0 where none is served.
        source: of that label, or empty.
        usd: what all attempts cost.
        seconds: they took.
        weight: 1.0 of a complete episode; of a logged one, one over the propensity of its attempts.
        lost: the weight of the attempts before one that the log could not have made.
        believed: chance that the served answer is right, as the model saw it; 0.0 if none is served.
        guess: chance of serving a right answer, as the model saw it before the first attempt.
        guess_usd: expected cost, likewise.
        steps: the attempts.
    """

    tiers: tuple[int, ...]
    served: int | None
    right: float | None
    sure: float = 1.0
    source: str = ""
    usd: float = 0.0
    seconds: float = 0.0
    weight: float = 1.0
    lost: float = 0.0
    believed: float = 0.0
    guess: float = 0.0
    guess_usd: float = 0.0
    steps: tuple[Step, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the episode shows what the policy would have got, and somebody says if it is right."""
        return self.weight > 0.0 and self.right is not None


class Player:
    """Plays policies over episodes with one model, which is asked once for what several policies want.

    Args:
        model: forms the beliefs.
    """

    def __init__(self, model: Believes) -> None:
        self._model = model
        self._tiers = tuple(model.tiers)

    def play(self, policies: Sequence[Policy], episode: Episode) -> list[Replay]:
        """What each policy does in the episode.

        An attempt on a tier that the model does not know is one that no policy makes. To leave out the
        episode, or the attempt alone, would bias what the others tell.
        """
        beliefs = _Beliefs(self._model, episode)
        played: dict[int, Replay] = {}
        first = 0
        for last in range(len(policies)):
            if last + 1 == len(policies) or not _differ_by_price(policies[last], policies[last + 1]):
                self._between(policies, episode, beliefs, played, first, last)
                first = last + 1
        return [played[number] for number in range(len(policies))]

    def _between(
        self,
        policies: Sequence[Policy],
        episode: Episode,
        beliefs: _Beliefs,
        played: dict[int, Replay],
        first: int,
        last: int,
    ) -> None:
        """Plays a run of policies in the order of their prices.

        A plan that is the best at two prices is the best at all between, since the gain and the cost of the
        best plan only rise with the price.
        """
        for number in (first, last):
            if number not in played:
                played[number] = self._one(policies[number], episode, beliefs)
        if played[first] == played[last]:
            played.update(dict.fromkeys(range(first, last), played[first]))
        elif last - first > 1:
            middle = (first + last) // 2
            self._between(policies, episode, beliefs, played, first, middle)
            self._between(policies, episode, beliefs, played, middle, last)

    def _one(self, policy: Policy, episode: Episode, beliefs: _Beliefs) -> Replay:
        outcomes: tuple[Outcome, ...] = ()
        places: tuple[int, ...] = ()
        choice = policy.choose(beliefs.after(outcomes, places), outcomes, self._tiers)
        guess, guess_usd = choice.right, choice.usd
        steps: list[Step] = []
        weight = 1.0
        while choice.tier is not None:
            outcome = self._next(episode, outcomes, choice.tier)
            if outcome is None:
                return Replay(
                    tiers=(*places, choice.tier),
                    served=None,
                    right=None,
                    weight=0.0,
                    lost=0.0 if _had_a_chance(episode, len(outcomes)) else weight,
                    guess=guess,
                    guess_usd=guess_usd,
                    steps=tuple(steps),
                )
            if not episode.complete:
                weight /= outcome.propensity
            outcomes, places = (*outcomes, outcome), (*places, choice.tier)
            after = policy.choose(beliefs.after(outcomes, places), outcomes, self._tiers)
            steps.append(
                Step(
                    weight=weight,
                    usd=outcome.usd,
                    seconds=outcome.seconds,
                    right=after.right - choice.right,
                    ahead=after.usd - choice.usd,
                )
            )
            choice = after
        label = outcomes[choice.serve].label if choice.serve is not None else None
        right: float | None = 0.0
        if choice.serve is not None:
            right = None if label is None else label.right
        return Replay(
            tiers=places,
            served=choice.serve,
            right=right,
            sure=1.0 if label is None else label.weight,
            source="" if label is None else label.source,
            usd=sum(outcome.usd for outcome in outcomes),
            seconds=sum(outcome.seconds for outcome in outcomes),
            weight=weight,
            believed=choice.right,
            guess=guess,
            guess_usd=guess_usd,
            steps=tuple(steps),
        )

    def _next(self, episode: Episode, before: Sequence[Outcome], place: int) -> Outcome | None:
        """What comes of trying a tier, as far as the episode shows."""
        if episode.complete:
            return episode.outcome(self._tiers[place])
        number = len(before)
        if number < len(episode.outcomes) and episode.outcomes[number].tier == self._tiers[place]:
            return episode.outcomes[number]
        return None


def _differ_by_price(one: Policy, next_: Policy) -> bool:
    """Whether two policies are the same but for a falling price; the one of the largest tier stands alone."""
    return not one.is_largest and next_.price <= one.price and one.at(next_.price) == next_


def _had_a_chance(episode: Episode, number: int) -> bool:
    """Whether the log drew lots where it went another way."""
    if episode.complete:
        return False
    if number < len(episode.outcomes):
        return episode.outcomes[number].propensity < 1.0
    return episode.stopped < 1.0


class _Beliefs:
    """Beliefs in one episode, each worked out once. What was tried, in order, says what is believed."""

    def __init__(self, model: Believes, episode: Episode) -> None:
        self._model = model
        self._prior: Any = model.prior(episode.context)
        self._known: dict[tuple[int, ...], Belief] = {}

    def after(self, outcomes: Sequence[Outcome], places: tuple[int, ...]) -> Belief:
        if places not in self._known:
            self._known[places] = self._model.belief(self._prior, outcomes)
        return self._known[places]
