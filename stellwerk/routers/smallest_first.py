"""Start at the smallest tier; one tier up at each rejection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Worker


class SmallestFirst:
    """The router of a cold start: nothing is known yet, so checks decide.

    Args:
        start: per worker, the tier to begin with where the smallest is known to be too small.
    """

    name = "smallest-first"
    version = "1"

    def __init__(self, start: Mapping[str, str] | None = None) -> None:
        self._start = dict(start or {})

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """The smallest tier, then the next one up, until the ladder ends.

        Raises:
            ConfigurationError: if `start` names a tier that the ladder does not have.
        """
        if not history:
            if worker.name in self._start:
                wanted = self._start[worker.name]
                first = ladder.nearest(wanted)
                why = f"{worker.name} is set to start at {wanted}"
                if first.name != wanted:
                    why += f", and {first.name} is the nearest that this run may use"
                return self._decision(first, why)
            return self._decision(ladder.smallest, f"{ladder.smallest.name} is the smallest tier")
        tried = history[-1]
        reason = tried["verdict"].get("reason", "rejected")
        above = ladder.above(tried["tier"])
        before = {attempt["tier"] for attempt in history}
        while above is not None and above.name in before:  # drawn by lot, or asked for by a caller
            above = ladder.above(above.name)
        if above is None:
            why = "is the largest tier" if tried["tier"] == ladder.names[-1] else "was the last tier left"
            return self._decision(None, f"{tried['tier']} {why} and was rejected ({reason})")
        return self._decision(
            above, f"{tried['tier']} was rejected ({reason}); {above.name} is the next tier"
        )

    def _decision(self, tier: Tier | None, why: str) -> Decision:
        return Decision(
            tier=None if tier is None else tier.name, router=self.name, version=self.version, why=why
        )


class Fixed:
    """Always the same tier, once.

    Args:
        tier: name of the tier.
    """

    name = "fixed"
    version = "1"

    def __init__(self, tier: str) -> None:
        self._tier = tier

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """The fixed tier before the first attempt; nothing after it."""
        tier = None if history else ladder.nearest(self._tier).name
        why = f"fixed to {self._tier}" if tier else f"{self._tier} was rejected, and no other tier is allowed"
        return Decision(tier=tier, router=self.name, version=self.version, why=why)
