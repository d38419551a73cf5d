"""The router protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


class Router(Protocol):
    """Picks the tier for each attempt: before the first, and after each rejected one."""

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """The next tier to try, or a decision without a tier, to stop.

        Args:
            subtask: what is to be done.
            worker: who does it.
            ladder: the tiers there are, cheapest first.
            budget: how far the subtask may go.
            history: rejected attempts so far, oldest first.
        """
        ...
