"""One call of a `LadderChatModel`, from the decision to the reply. It does no call itself."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage

from stellwerk.budget import Budget
from stellwerk.chat.asking import Asking
from stellwerk.chat.climb import Climb
from stellwerk.chat.offered import Offered
from stellwerk.chat.record import Telling, routed, with_record
from stellwerk.chat.subject import subject_of
from stellwerk.chat.verdict import ReplyCheck, judged, value_of
from stellwerk.errors import TierError
from stellwerk.outcome import Call, Verdict
from stellwerk.routers.router import Router, cascades
from stellwerk.tiers.tier import Reply


class RoutedCall:
    """A call on its way.

    Args:
        messages: the prompt.
        offered: what the call offers.
        router: picks the tiers.
        budget: how far the call may go.
        worker: name of the worker, or None for one that follows from the call.
        checks: of the program's own; None to check nothing at all.
        telling: tells of the attempts.
    """

    def __init__(
        self,
        messages: Sequence[BaseMessage],
        offered: Offered,
        *,
        router: Router,
        budget: Budget,
        worker: str | None,
        checks: Sequence[ReplyCheck] | None,
        telling: Telling,
    ) -> None:
        self._messages = messages
        self._offered = offered
        self._subject = subject_of(messages, offered, worker)
        self._climb = Climb(self._subject, telling.ladder, router, budget)
        self._telling = telling
        self._calls: list[Call] = []
        has_checks = bool(offered.tools or offered.json or checks or cascades(router))
        self._checks = checks if has_checks else None
        self.needs_all = cascades(router) or self._checks is not None
        """Whether a reply has to be seen as a whole before any of it may be passed on."""

    def next(self) -> Asking | None:
        """The next attempt; None once there is a reply to serve."""
        try:
            step = self._climb.next()
        finally:
            self._telling.flush()  # now that it is known whether the router stops
        if step is None:
            return None
        self._calls = []
        return Asking(
            step,
            self._offered,
            self._messages,
            owner=self._subject.worker.name,
            flow=self._telling.thread_id,
            calls=self._calls,
        )

    def answered(self, asking: Asking, reply: Reply) -> None:
        """The attempt was answered."""
        message = asking.took(reply)
        verdict = Verdict(accepted=True)
        if self._checks is not None:
            verdict = judged(message, self._offered, self._subject, self._messages, self._checks)
        value = value_of(message, self._offered)
        place = len(self._climb.attempts)
        attempt = self._climb.take(message, self._calls, verdict, value)
        self._telling.attempt(self._subject, attempt, place, self._messages, message, value)

    def failed(self, asking: Asking, error: TierError) -> None:
        """The attempt was not answered."""
        asking.lost(error)
        place = len(self._climb.attempts)
        attempt = self._climb.fail(error, self._calls)
        self._telling.attempt(self._subject, attempt, place, self._messages, None, None)

    def message(self) -> AIMessage:
        """The reply to serve.

        Raises:
            TierError: if no tier gave one.
        """
        served = self._climb.served()
        record = routed(self._climb, served, self._telling)
        return with_record(served, record, is_nested=True)
