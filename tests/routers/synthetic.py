"""Subtasks of a known kind, and a model of them that knows as much as a test wants it to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routing_context import RoutingContext

TIERS = ("small", "middle", "large")
USD = (1e-5, 1e-4, 1e-3)
SKILL = (0.5, 1.5, 3.0)
NOTICED = 0.3
"""Share of the wrong answers that the checks reject."""


def context(ease: float) -> RoutingContext:
    """A subtask as hard as its instruction says."""
    return RoutingContext(
        worker="test",
        worker_version="1",
        instruction=repr(ease),
        prompt=0,
        fields=1,
        choices=0,
        depth=1,
        tools=[],
        max_tokens=100,
        source=0,
        inputs=0,
        position=0,
        size=1,
    )


def chance(ease: float, place: int) -> float:
    """Of a tier's answer to be right."""
    return 1 / (1 + math.exp(-(ease + SKILL[place])))


def episodes(count: int, seed: int, *, group: int = 1, skill: float = 0.0, name: str = "e") -> list[Episode]:
    """Complete episodes; those of a group are of one difficulty, and right and wrong together."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        if number % group == 0:
            ease, luck = float(draw.normal()), draw.random(len(TIERS))
            noticed = draw.random(len(TIERS)) < NOTICED
        outcomes = []
        for place, tier in enumerate(TIERS):
            right = bool(luck[place] < chance(ease + skill, place))
            outcomes.append(
                Outcome(
                    tier=tier,
                    accepted=right or not noticed[place],
                    usd=USD[place],
                    seconds=1.0 + place,
                    label=Label(right=float(right), source="gold"),
                )
            )
        made.append(
            Episode(
                id=f"{name}{number}",
                context=context(ease),
                outcomes=tuple(outcomes),
                complete=True,
                group=f"{name}{number // group}" if group > 1 else "",
            )
        )
    return made


@dataclass(frozen=True)
class Model:
    """Knows the chances, but for a shift of their odds (in nats) and noise that is the same for a subtask."""

    shift: float = 0.0
    noise: float = 0.0
    stretch: float = 1.0

    @property
    def tiers(self) -> Sequence[str]:
        return TIERS

    def prior(self, context: RoutingContext) -> Any:
        ease = float(context["instruction"])
        wobble = math.sin(1e6 * ease) * self.noise
        return tuple(
            1 / (1 + math.exp(-(self.stretch * (ease + SKILL[place]) + self.shift + wobble)))
            for place in range(len(TIERS))
        )

    def belief(self, prior: Any, outcomes: Sequence[Outcome]) -> Belief:
        accept = [right + (1 - right) * (1 - NOTICED) for right in prior]
        answers = []
        for outcome in outcomes:
            place = TIERS.index(outcome.tier)
            answers.append(prior[place] / accept[place] if outcome.accepted else 0.0)
        return Belief(
            right=prior, accept=accept, usd=USD, seconds=(1.0, 2.0, 3.0), tokens=(1.0,) * 3, answers=answers
        )


def logged(episode: Episode, draw: np.random.Generator, explore: float) -> Episode:
    """What a log has of a complete episode: smallest first, but now and then any other tier, or none more."""
    left, ended = list(range(len(TIERS))), 1.0
    taken: list[Outcome] = []
    while left:
        done = bool(taken) and taken[-1].accepted
        # Where it is done, `None` (stop) is the usual choice, else the next tier up.
        options: list[int | None] = [*left, *([None] if taken else [])]
        above = [place for place in left if not taken or place > TIERS.index(taken[-1].tier)]
        usual = None if done or not above else above[0]
        chances = [explore / len(options) + (1 - explore) * (option == usual) for option in options]
        picked = int(draw.choice(len(options), p=np.array(chances) / sum(chances)))
        option, propensity = options[picked], chances[picked]
        if option is None:
            ended = propensity
            break
        outcome = episode.outcomes[option]
        left.remove(option)
        taken.append(
            Outcome(
                tier=outcome.tier,
                accepted=outcome.accepted,
                usd=outcome.usd,
                seconds=outcome.seconds,
                label=outcome.label,
                propensity=propensity,
            )
        )
    return Episode(
        id=episode.id, context=episode.context, outcomes=tuple(taken), group=episode.group, stopped=ended
    )
