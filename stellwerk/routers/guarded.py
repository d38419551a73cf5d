"""A router that may fail: the subtask goes up the ladder from the smallest tier then."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from langgraph.errors import GraphBubbleUp

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.routers.router import Asked, Router, asking
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker

_log = logging.getLogger(__name__)


def guarded(router: Router) -> Asked:
    """How a router is asked, where it never fails a subtask.

    If it raises, or names a tier that is not there, the smallest tier goes first, or an answer in hand is
    served. The decision says so; the log does once.
    """
    name = str(getattr(router, "name", type(router).__name__))
    decide, fallback, logged = asking(router), SmallestFirst(), False

    def guard(
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief,
    ) -> Decision:
        nonlocal logged
        try:
            decision = decide(subtask, worker, ladder, budget, history, brief)
            if decision.tier is not None:
                ladder.tier(decision.tier)
        except GraphBubbleUp:
            raise
        except Exception as error:
            if not logged:
                logged = True
                _log.warning("the router %s failed; the smallest tier goes first", name, exc_info=True)
            why = f"the router {name} failed ({type(error).__name__}: {error}"[:500] + "); "
            accepted = [attempt["tier"] for attempt in history if attempt["verdict"]["accepted"]]
            if accepted:
                why += f"the accepted answer of {accepted[-1]} is served"
                return Decision(tier=None, router=fallback.name, version=fallback.version, why=why)
            then = fallback.decide(subtask, worker, ladder, budget, history)
            return Decision(tier=then.tier, router=then.router, version=then.version, why=why + then.why)
        return decision

    return guard
