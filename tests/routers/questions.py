"""Subtasks of which it is known how hard they are: the words say so, and so does the length."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routing_context import RoutingContext

TIERS = ("small", "medium", "large")
EASY = ("capital", "colour", "greeting", "weekday", "animal", "spelling")
HARD = ("integral", "theorem", "eigenvalue", "manifold", "homology", "entropy")
PRICES = {"small": 0.001, "medium": 0.01, "large": 0.1}
CHANCES = {"small": (0.95, 0.15), "medium": (0.97, 0.5), "large": (0.98, 0.9)}  # easy, hard


def context(instruction: str, **changes: object) -> RoutingContext:
    """A context of which only the instruction is of interest, unless something else is said."""
    known = RoutingContext(
        worker="answer",
        worker_version="1",
        instruction=instruction,
        prompt=200,
        fields=2,
        choices=0,
        depth=1,
        tools=[],
        max_tokens=256,
        source=0,
        inputs=0,
        position=0,
        size=1,
    )
    known.update(changes)  # type: ignore[typeddict-item]
    return known


def instruction(draw: random.Random, hard: bool) -> str:
    """A question, by its words easy or hard."""
    words = draw.sample(HARD if hard else EASY, 2)
    return f"What is the {words[0]} of the {words[1]} number {draw.randint(1, 99)}?"


def episodes(
    count: int,
    seed: int = 0,
    *,
    tiers: Sequence[str] = TIERS,
    labels: bool = True,
    checks: bool = False,
    logprobs: bool = False,
) -> list[Episode]:
    """Complete episodes, half of them hard.

    Args:
        count: of episodes.
        seed: of all that is drawn.
        tiers: those that were tried.
        labels: whether it is known which answers are right.
        checks: whether checks reject nine in ten of the wrong answers; they take all otherwise.
        logprobs: whether right answers have the higher log-probabilities.
    """
    draw = random.Random(seed)
    made = []
    for number in range(count):
        hard = draw.random() < 0.5
        text = instruction(draw, hard)
        outcomes = []
        for tier in tiers:
            right = draw.random() < CHANCES[tier][hard]
            accepted = right or not checks or draw.random() < 0.1
            outcomes.append(
                Outcome(
                    tier=tier,
                    accepted=accepted,
                    reason=None if accepted else "check",
                    usd=PRICES[tier] * draw.uniform(0.8, 1.2),
                    seconds=draw.uniform(0.5, 1.5),
                    input=100,
                    output=200 if hard else 20,
                    logprobs={"mean": -0.1 if right else -0.6} if logprobs else None,
                    answer=("right" if right else f"wrong {draw.randint(1, 4)}") if accepted else "",
                    label=Label(right=float(right), source="gold") if labels else None,
                    trace_id=f"{number:05d}-{tier}",
                )
            )
        made.append(
            Episode(
                id=f"{number:05d}",
                context=context(text),
                outcomes=tuple(outcomes),
                complete=True,
                at=1_700_000_000 + number,
            )
        )
    return made
