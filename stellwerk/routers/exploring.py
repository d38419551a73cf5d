"""A router that now and then draws lots, and says with which probability."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.routers.router import Router
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


class Exploring:
    """Decides as another router does, but draws the next tier for a share of the decisions.

    What is never tried leaves no traces, and by traces alone can a new router be judged before it serves.
    Draws are among all tiers that the subtask has not tried, each as likely, after an accepted answer too: a
    router that goes on from one could not be judged otherwise. What was accepted first is served anyway.

    Args:
        router: decides the rest. It must neither draw lots of its own, nor cascade.
        share: of the decisions, from 0 to 1.
        seed: of the draws; None for other ones each time.

    Raises:
        ConfigurationError: if the share is out of range, or the router cascades.
    """

    cascades = True

    def __init__(self, router: Router, share: float, *, seed: int | None = None) -> None:
        if not 0 <= share <= 1:
            raise ConfigurationError(f"the share to explore is {share}; it is from 0 to 1")
        self.name = str(getattr(router, "name", type(router).__name__))
        if getattr(router, "cascades", False):
            raise ConfigurationError(f"the router {self.name!r} cascades; set its own share to explore")
        self._router, self._share = router, share
        self._draw = random.Random(seed)  # noqa: S311  # no secret
        self.version = f"{getattr(router, 'version', '')}+explore={share:g}"

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        """The other router's decision, or a draw."""
        accepted = [place for place, attempt in enumerate(history) if attempt["verdict"]["accepted"]]
        if accepted:
            why = f"{history[accepted[0]]['tier']} was accepted"
            decision = Decision(tier=None, router=self.name, version=self.version, why=why, serve=accepted[0])
        else:
            decided = self._router.decide(subtask, worker, ladder, budget, history)
            decision = replace(decided, version=self.version)
        tried = {attempt["tier"] for attempt in history}
        more = budget.allows(len(history), len(ladder))
        left = [name for name in ladder.names if name not in tried] if more else []
        if not left or (decision.tier is None and not accepted):
            return decision
        return drawn_or_kept(decision, left, self._share, self._draw)


def drawn_or_kept(decision: Decision, left: Sequence[str], share: float, draw: random.Random) -> Decision:
    """A decision, or for a share of them a tier drawn out of those left, with the probability of what it is.

    Args:
        decision: what is decided without lots.
        left: tiers to draw from, at least one, each as likely.
        share: of the decisions that are drawn, from 0 to 1.
        draw: draws the lots.
    """
    each = share / len(left)
    tier = draw.choice(left) if draw.random() < share else decision.tier
    if tier == decision.tier:
        return replace(decision, propensity=1 - share + (each if tier is not None else 0.0))
    why = f"{tier} was drawn to learn of it; otherwise: {decision.why}"
    return replace(decision, tier=tier, serve=None, why=why, propensity=each)
