"""The router of the collection: mostly from the smallest tier up, with lots drawn at each step."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker

SMALLEST = 0.4  # beside its share of the lots
GO_ON = 0.3  # after an answer that the checks took


class Exploring:
    """Draws the first tier; goes one up after a rejection, and now and then after an accepted answer as well.

    Lots are drawn from the seed and the instruction, so that a collection that broke off goes on as it began.

    Args:
        seed: of the lots.
    """

    name = "exploring"
    version = "1"
    cascades = True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """The next tier, with the probability with which it was drawn."""
        draw = random.Random(f"{self._seed}/{worker.name}/{subtask.instruction}/{len(history)}")
        if not history:
            names = [tier.name for tier in ladder]
            shares = [(1 - SMALLEST) / len(names)] * len(names)
            shares[0] += SMALLEST
            place = draw.choices(range(len(names)), weights=shares)[0]
            return self._decision(names[place], "drawn", shares[place])
        last = history[-1]
        above = ladder.above(last["tier"])
        if above is not None and not last["verdict"]["accepted"]:
            return self._decision(above.name, f"{last['tier']} was rejected", 1.0)
        if above is not None and draw.random() < GO_ON:
            return self._decision(above.name, f"drawn after {last['tier']} was accepted", GO_ON)
        accepted = [place for place, attempt in enumerate(history) if attempt["verdict"]["accepted"]]
        share = 1.0 if above is None else 1 - GO_ON
        return self._decision(None, "no more is drawn", share, serve=accepted[-1] if accepted else None)

    def _decision(self, tier: str | None, why: str, share: float, serve: int | None = None) -> Decision:
        return Decision(
            tier=tier, router=self.name, version=self.version, why=why, propensity=share, serve=serve
        )
