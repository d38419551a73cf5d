"""The account of a run: what it has spent, what is set aside for calls under way, and what is left.

Subtasks of a run spend at once, from threads or on an event loop. Each call has the most that it may take set
aside before it is made; where others have set aside too much, it waits for them, as calls mostly take less.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from stellwerk.budget import RunBudget
from stellwerk.errors import BudgetError
from stellwerk.ledger import Priced
from stellwerk.outcome import Call
from stellwerk.spending import NOTHING, Spending, spending_of


class Account:
    """Opened by `execute` for the subtasks of one run.

    Args:
        budget: of the run.
        prices: by tier.
        spent: by planning, and by earlier rounds.
        seconds: of the run's time that are gone.
    """

    def __init__(
        self,
        budget: RunBudget,
        prices: Mapping[str, Priced | None],
        *,
        spent: Spending = NOTHING,
        seconds: float = 0.0,
    ) -> None:
        self.budget = budget
        self.deadline = None if budget.seconds is None else time.monotonic() + budget.seconds - seconds
        """`time.monotonic()` at which the run's time ends."""
        self.ended: str | None = None
        """The limit for which a call was not made."""
        self._began, self._seconds = time.monotonic(), seconds
        self._prices = prices
        self._lock = threading.Lock()
        self._spent = spent
        self._before: dict[str, Spending] = {}
        self._now: dict[str, Spending] = {}
        self._aside: dict[str, Spending] = {}
        self._set_aside = NOTHING
        self._waiting: dict[str, tuple[Spending, Future[None]]] = {}

    @property
    def spent(self) -> Spending:
        """Up to now, without calls under way."""
        return self._spent

    @property
    def worked(self) -> float:
        """Seconds of the run's time that are gone."""
        return self._seconds + time.monotonic() - self._began

    def allows(self, expected: Spending) -> bool:
        """Whether a call that takes so much could still be made."""
        return self.budget.exceeded_by(self._spent.plus(expected)) is None

    def attempted(self, owner: str, calls: Iterable[Call], now: Iterable[Call] = ()) -> None:
        """Put down the calls of all attempts that a subtask has ended, and of the one under way."""
        with self._lock:
            self._put(owner, self._before, spending_of(calls, self._prices))
            self._put(owner, self._now, spending_of(now, self._prices))
            self._grant()

    def reserve(self, owner: str, calls: Iterable[Call], expected: Spending) -> Future[None]:
        """Set aside what a call may take; done once there is enough, with a `BudgetError` if there never is.

        Args:
            owner: the subtask, which makes one call at a time.
            calls: that its attempt has made before.
            expected: the most that the call may take.
        """
        place: Future[None] = Future()
        with self._lock:
            self._put(owner, self._now, spending_of(calls, self._prices))
            self._waiting[owner] = expected, place
            self._grant()
        return place

    def settle(self, owner: str, calls: Iterable[Call]) -> None:
        """A call has ended, or is not made after all; `calls` are those of the attempt, with this one."""
        with self._lock:
            self._waiting.pop(owner, None)
            self._set_aside = self._set_aside.minus(self._aside.pop(owner, NOTHING))
            self._put(owner, self._now, spending_of(calls, self._prices))
            self._grant()

    def _put(self, owner: str, sums: dict[str, Spending], spending: Spending) -> None:
        self._spent = self._spent.plus(spending).minus(sums.get(owner, NOTHING))
        sums[owner] = spending

    def _grant(self) -> None:
        for owner, (expected, place) in list(self._waiting.items()):
            del self._waiting[owner]
            alone = self._spent.plus(expected)
            late = self.deadline is not None and time.monotonic() >= self.deadline
            if limit := "seconds" if late else self.budget.exceeded_by(alone):
                if place.set_running_or_notify_cancel():
                    self.ended = self.ended or limit
                    place.set_exception(self._refusal(limit, expected))
            elif self.budget.exceeded_by(alone.plus(self._set_aside)) is not None:
                self._waiting[owner] = expected, place
            elif place.set_running_or_notify_cancel():
                self._aside[owner] = expected
                self._set_aside = self._set_aside.plus(expected)
                place.set_result(None)

    def _refusal(self, limit: str, expected: Spending) -> BudgetError:
        if limit == "seconds":
            return time_is_over(self.budget)
        return refusal("run", limit, getattr(self.budget, limit), self._spent, expected)


@dataclass(frozen=True, slots=True)
class Purse:
    """The account of its run, as one subtask has it at hand."""

    account: Account
    owner: str


def time_is_over(budget: RunBudget) -> BudgetError:
    """Why a call is not made when the run's time is over."""
    return BudgetError(f"the run's {budget.seconds:g} seconds are over", "seconds")


def refusal(whose: str, limit: str, allowed: float, spent: Spending, expected: Spending) -> BudgetError:
    """Why a call is not made that costs too much."""
    if limit == "usd" and expected.usd == float("inf"):
        why = f"the {whose}'s budget is in USD, and the tier has no price; give it one"
        return BudgetError(why, limit)
    unit = {"usd": "USD", "tokens": "tokens", "calls": "calls"}[limit]
    used, wanted = getattr(spent, limit), getattr(expected, limit)
    why = f"the {whose} may take {allowed:g} {unit}, took {used:.6g}, and the next call may take {wanted:.6g}"
    return BudgetError(why, limit)
