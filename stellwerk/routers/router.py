"""The router protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Protocol

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker


class Router(Protocol):
    """Picks the tier for each attempt: before the first, and after each rejected one.

    A router with an attribute `cascades` that is true is also asked after each accepted attempt, and may go
    on to another tier, or stop with the accepted attempt that its decision names in `serve`. One whose
    `decide` has a parameter `brief` is given the subtask's documents and inputs as well.
    """

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
            history: attempts so far, oldest first; for a router that does not cascade all are rejected ones.
        """
        ...


Asked = Callable[[Subtask, Worker, Ladder, Budget, Sequence[Attempt], Brief], Decision]
"""A router's `decide` that takes the brief, whether the router wants it or not."""


def asking(router: Router) -> Asked:
    """How a router is asked."""
    decide: Callable[..., Decision] = router.decide
    if "brief" in inspect.signature(decide).parameters:
        return lambda *given: decide(*given[:-1], brief=given[-1])
    return lambda *given: decide(*given[:-1])


def cascades(router: Router) -> bool:
    """Whether a router is asked after accepted attempts too."""
    return bool(getattr(router, "cascades", False))
