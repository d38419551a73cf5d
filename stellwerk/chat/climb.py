"""One call on its way up the ladder: whom to ask next, and what to serve. It does no call itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage

from stellwerk.budget import Budget
from stellwerk.chat.subject import Subject
from stellwerk.decision import SERVE_NONE, Decision
from stellwerk.errors import TierError
from stellwerk.nodes.generate import no_draft
from stellwerk.nodes.state import Terms
from stellwerk.nodes.terms import affordable, terms_of
from stellwerk.outcome import Attempt, Call, Reason, Verdict, answer_digest
from stellwerk.routers.router import Router, asking, cascades
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier

Hold = Callable[[Decision], Decision]
"""May put another decision in the place of a router's first one."""


@dataclass(frozen=True, slots=True)
class Try:
    """The next attempt: on which tier, why, and on what terms. `deadline` is by `time.monotonic()`."""

    tier: Tier
    decision: Decision
    terms: Terms
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Served:
    """What the call comes to: the reply, the place of its attempt from 0, and the verdict on it."""

    message: AIMessage
    place: int
    verdict: Verdict


class Climb:
    """The attempts at one call.

    Args:
        subject: what is asked for.
        ladder: the tiers.
        router: picks among them.
        budget: how far the call may go.
        hold: has the last word on the first tier.
    """

    def __init__(
        self, subject: Subject, ladder: Ladder, router: Router, budget: Budget, hold: Hold | None = None
    ) -> None:
        self.subject = subject
        self.attempts: list[Attempt] = []
        self._messages: list[AIMessage | None] = []
        self._error: TierError | None = None
        self._ladder = ladder
        self._router = router
        self._decide = asking(router)
        self._budget = budget
        self._hold = hold
        self._try: Try | None = None
        self._stop: Decision | None = None

    def next(self) -> Try | None:
        """The next attempt; None to serve what there is.

        Raises:
            ConfigurationError: if the router picks a tier that the ladder does not have.
        """
        accepted = any(attempt["verdict"]["accepted"] for attempt in self.attempts)
        if accepted and not cascades(self._router):
            return None
        more = self._budget.allows(len(self.attempts), len(self._ladder))
        if not more and not accepted:
            return None
        decision = self._decided(self._budget)
        if accepted and more and decision.tier is not None and not self._affords(decision.tier):
            # Which answer is served is the router's to say, as no other can be paid for.
            decision, more = self._decided(replace(self._budget, attempts=len(self.attempts))), False
        if decision.tier is None:
            self._stop = decision
            if accepted:
                last = self.attempts[-1]
                last["decision"] = {**last["decision"], "after": decision.record()}
            waits = self._stays() if more and not accepted else None
            if waits is None:
                return None
            self._try = waits
            return waits
        tier = self._ladder.tier(decision.tier)
        if not more or (self.attempts and not self._affords(tier.name)):
            return None
        terms = terms_of(tier.name, *self._terms())
        self._try = Try(tier, decision, terms, _deadline(terms))
        return self._try

    def take(self, message: AIMessage, calls: Sequence[Call], verdict: Verdict, value: Any) -> Attempt:
        """Note what an attempt gave."""
        attempt = self._attempt(calls, verdict)
        if verdict["accepted"]:
            attempt["answer"] = answer_digest(value)
        self._messages.append(message)
        return attempt

    def fail(self, error: TierError, calls: Sequence[Call]) -> Attempt:
        """Note that an attempt gave nothing."""
        self._error = error
        draft = no_draft(error)
        verdict = Verdict(accepted=False, reason=draft["reason"], detail=draft["detail"][:1000])
        attempt = self._attempt(calls, verdict)
        self._messages.append(None)
        return attempt

    def served(self) -> Served:
        """The reply that the router names, or else the last accepted one, or else the last one.

        Raises:
            TierError: if there is none.
        """
        accepted = [i for i, attempt in enumerate(self.attempts) if attempt["verdict"]["accepted"]]
        named = self._stop.serve if self._stop is not None else None
        answered = [i for i, message in enumerate(self._messages) if message is not None]
        if not answered:
            raise self._error or TierError(self._nothing())
        place = named if named in accepted else (accepted or answered)[-1]
        verdict = self.attempts[place]["verdict"]
        if named == SERVE_NONE:
            why = self._stop.why if self._stop is not None else ""
            verdict = Verdict(accepted=False, reason=Reason.DOUBTED.value, detail=why[:1000])
        message = self._messages[place]
        assert message is not None
        return Served(message, place, verdict)

    def _decided(self, budget: Budget) -> Decision:
        subject = self.subject
        decision = self._decide(
            subject.subtask, subject.worker, self._ladder, budget, self.attempts, subject.brief
        )
        if self._hold is not None and not self.attempts and decision.tier is not None:
            return self._hold(decision)
        return decision

    def _stays(self) -> Try | None:
        """Where the router knows no other tier, a call that found its tier exhausted waits for it, once."""
        last = self._try
        if last is None or last.terms["last"]:
            return None
        if self.attempts[-1]["verdict"].get("reason") != Reason.UNAVAILABLE:
            return None
        why = f"{last.tier.name} had no place in time, and no other tier is allowed; waits for it"
        decision = replace(last.decision, why=why, propensity=1.0)
        terms = Terms(last=True, seconds=terms_of(last.tier.name, *self._terms())["seconds"])
        return Try(last.tier, decision, terms, _deadline(terms))

    def _affords(self, tier: str) -> bool:
        return affordable(self._ladder.tier(tier), *self._terms())

    def _terms(self) -> tuple[Ladder, Budget, list[Attempt], Any, Any]:
        return self._ladder, self._budget, self.attempts, self.subject.worker, self.subject.brief

    def _attempt(self, calls: Sequence[Call], verdict: Verdict) -> Attempt:
        assert self._try is not None
        attempt = Attempt(
            tier=self._try.tier.name,
            decision=self._try.decision.record(),
            verdict=verdict,
            calls=list(calls),
        )
        self.attempts.append(attempt)
        return attempt

    def _nothing(self) -> str:
        why = self._stop.why if self._stop is not None else "it picked none"
        return f"router {self._router_name()!r} allows no tier for the call: {why}"

    def _router_name(self) -> str:
        return str(getattr(self._router, "name", type(self._router).__name__))


def _deadline(terms: Terms) -> float | None:
    return None if terms["seconds"] is None else time.monotonic() + terms["seconds"]
