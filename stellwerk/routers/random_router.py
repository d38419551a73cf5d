"""A router that draws lots: what it logs can be judged offline for any other router."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


class RandomRouter:
    """Any tier with the same probability; after a rejection, any of those not tried yet.

    Args:
        seed: of the draws; None for other ones each time.
        tiers: names to draw from; None for the whole ladder.

    Raises:
        ConfigurationError: if there is no tier to draw from, or one is named twice.
    """

    name = "random"
    version = "1"

    def __init__(self, seed: int | None = None, tiers: Sequence[str] | None = None) -> None:
        if tiers is not None and (not tiers or len(set(tiers)) < len(tiers)):
            raise ConfigurationError(
                f"the tiers to draw from are {list(tiers)}; name at least one, each once"
            )
        self._draw = random.Random(seed)  # noqa: S311  # no secret
        self._tiers = None if tiers is None else tuple(tiers)

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """A tier that was not tried yet, or none if all were.

        Raises:
            ConfigurationError: if a tier to draw from is not in the ladder.
        """
        names = ladder.names if self._tiers is None else [ladder.tier(name).name for name in self._tiers]
        tried = {attempt["tier"] for attempt in history}
        left = [name for name in names if name not in tried]
        if not left:
            return Decision(
                tier=None, router=self.name, version=self.version, why="every tier was tried and rejected"
            )
        tier = self._draw.choice(left)
        return Decision(
            tier=tier,
            router=self.name,
            version=self.version,
            why=f"{tier} was drawn out of {len(left)}",
            propensity=1 / len(left),
        )
