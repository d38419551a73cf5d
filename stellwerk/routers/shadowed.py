"""A router in the shadow of another: it decides as well, and only what it decides is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.routers.router import Router, asking, cascades
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker

_log = logging.getLogger(__name__)


class Shadowed:
    """Decides as one router does; the decision has with it what another would have decided here.

    The other one never makes a run fail: what it raises is logged once, and its decision is missing.

    Args:
        active: is followed.
        shadow: is asked beside it, after the same attempts, which are the active one's.
    """

    def __init__(self, active: Router, shadow: Router) -> None:
        self.active, self.shadow = active, shadow
        self.cascades = cascades(active)
        self.name = str(getattr(active, "name", type(active).__name__))
        self.version = str(getattr(active, "version", ""))
        self._decide, self._beside = asking(active), asking(shadow)
        self._failed = False

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None = None,
    ) -> Decision:
        """The decision of the active router; raises what that raises."""
        brief = brief or Brief(instruction=subtask.instruction)
        decision = self._decide(subtask, worker, ladder, budget, history, brief)
        try:
            beside = self._beside(subtask, worker, ladder, budget, history, brief)
        except Exception:  # whatever a shadow does, the run goes on
            if not self._failed:
                self._failed = True
                _log.warning("the router in the shadow of %s failed", self.name, exc_info=True)
            return decision
        return replace(decision, shadow=beside)
