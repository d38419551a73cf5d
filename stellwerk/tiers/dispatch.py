"""One call on its way through a tier: queue, replica, tries, and what became of each.

The way is a generator that yields what has to be waited for and what has to be asked (`drive.py`). Whatever
happens to the call, its place and its replica are given back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from langchain_core.messages import AIMessage

from stellwerk.errors import (
    ContextOverflowError,
    TierAccessError,
    TierError,
    TierTimeoutError,
    TierUnavailableError,
)
from stellwerk.tiers.drive import Try, Wait, Way
from stellwerk.tiers.failures import BrokenStreamError, Failure, Kind, failure_of
from stellwerk.tiers.gate import Gate, Ticket
from stellwerk.tiers.pool import Lease, Pool
from stellwerk.tiers.replica import Replica

_BACK_OFF = 0.25  # seconds before a server that failed is tried again, if there is no other; doubles
_LONGEST_BACK_OFF = 4.0  # seconds


@dataclass(frozen=True, slots=True)
class FailedTry:
    """A try that came to nothing. `billed` is whether the server may have billed for it all the same."""

    replica: str
    seconds: float
    error: str
    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a call asks of a tier.

    Args:
        flow: the run that it belongs to.
        tokens: that it is expected to take.
        key: of its prompt's beginning.
        patience: seconds of waiting at a tier that lets nobody in; None for as long as it lets any call wait.
        deadline: by the clock.
    """

    flow: str = ""
    tokens: int = 0
    key: bytes = b""
    patience: float | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of it: `seconds` of the try that was answered, `waited` in all, and the tries before it."""

    message: AIMessage
    seconds: float
    waited: float
    replica: str
    tries: tuple[FailedTry, ...]


@dataclass(eq=False, kw_only=True)
class Dispatch:
    """The way into one tier.

    Args:
        name: of the tier, for errors.
        gate: grants places.
        pool: the servers.
        timeout: seconds for one try; None for none.
        max_wait: seconds that a call waits at most while nobody is let in.
        max_retries: tries after the first that failed at the server's fault.
        clock: seconds; `Order.deadline` is by the same one.
    """

    name: str
    gate: Gate
    pool: Pool
    timeout: float | None = None
    max_wait: float = 300.0
    max_retries: int = 0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def way(self, order: Order, tokens_of: Callable[[AIMessage], int]) -> Way[Answered]:
        """The way of one call.

        Raises:
            TierUnavailableError: if there is no place or no server in time.
            TierTimeoutError: if no answer comes in time.
            ContextOverflowError: if a server finds the prompt too long.
            TierAccessError: if a server refuses the key.
            TierError: if the servers fail, or refuse.
        """
        return _Call(self, order, tokens_of).way()

    def look(self) -> None:
        """Have the replicas' queues read, where it is time."""
        now = self.clock()
        for replica in self.pool.replicas:
            if replica.load is not None and replica.load.due(now):
                replica.load.read_in_background(self.clock, self.pool.notify)


class _Call:
    """One call, and what it has come through so far."""

    def __init__(self, dispatch: Dispatch, order: Order, tokens_of: Callable[[AIMessage], int]) -> None:
        self._tier = dispatch
        self._order = order
        self._tokens_of = tokens_of
        self._waited = 0.0
        self._queued = 0.0
        self._tries: list[FailedTry] = []

    def way(self) -> Way[Answered]:
        gate, clock = self._tier.gate, self._tier.clock
        ticket = gate.enter(self._order.flow, self._order.tokens, clock())
        try:
            yield from self._place(ticket)
            return (yield from self._answer(ticket))
        except TierError as error:
            error.tries = tuple(self._tries)
            error.waited = self._waited
            raise
        finally:
            gate.leave(ticket, clock())

    def _place(self, ticket: Ticket) -> Generator[Wait, None, None]:
        gate = self._tier.gate
        entered = self._tier.clock()
        while ticket.state == "waiting":
            now = self._tier.clock()
            if (left := self._left(now, now - max(entered, gate.granted_at))) <= 0:
                raise self._unavailable(
                    f"no place for the call: {gate.held} are taken (max_concurrency: {gate.limit}) and "
                    f"{gate.waiting - 1} more calls wait; raise its limits, or add a replica"
                )
            wake = gate.wake(now)
            yield from self._wait(ticket.future, left if wake is None else min(left, wake))
            gate.pump(self._tier.clock())
        self._queued = self._waited

    def _answer(self, ticket: Ticket) -> Way[Answered]:
        tier, faults, timeouts = self._tier, 0, 0
        failed: set[Replica] = set()
        while True:
            if self._tries:
                yield from self._again(ticket, failed)
            lease = yield from self._lease(failed)
            begun = tier.clock()
            try:
                if (left := self._to_deadline(begun)) is not None and left <= 0:
                    raise self._too_late()
                message = yield Try(lease.replica, shortest(tier.timeout, left))
                assert message is not None
            except Exception as error:
                if isinstance(error, TierError) and not isinstance(error, BrokenStreamError):
                    # Of the model itself, such as an embedded one.
                    tier.pool.abandon(lease)
                    raise
                now = tier.clock()
                failure = failure_of(error)
                known = tier.pool.answered
                tier.pool.fail(lease, failure, now)
                failure = replace(failure, text=self._said(lease.replica, error, now - begun))
                self._tries.append(FailedTry(lease.replica.name, now - begun, failure.text, failure.billed))
                failed.add(lease.replica)
                match failure.kind:
                    case Kind.TIMEOUT:
                        timeouts += 1
                    case Kind.BUSY:
                        pass  # it is waited for
                    case Kind.UNREACHED if known:
                        pass  # so it was up once, and may be again: it is waited for
                    case _:
                        faults += 1
                if self._is_end(failure, faults, timeouts, now):
                    # A cause that repeats the key would stand in every traceback.
                    cause = None if lease.replica.is_told_secrets(error) else error
                    raise self._given_up(failure) from cause
            except BaseException:
                tier.pool.abandon(lease)
                raise
            else:
                now = tier.clock()
                tier.pool.succeed(lease, now)
                tier.gate.correct(ticket, self._tokens_of(message), now)
                return Answered(
                    message=message,
                    seconds=now - begun,
                    waited=self._waited,
                    replica=lease.replica.name,
                    tries=tuple(self._tries),
                )

    def _is_end(self, failure: Failure, faults: int, timeouts: int, now: float) -> bool:
        if failure.kind in (Kind.REFUSED, Kind.DENIED, Kind.OVERFLOW) or not self._tier.max_retries:
            return True
        if (left := self._to_deadline(now)) is not None and left <= 0:
            return True
        if failure.kind is Kind.TIMEOUT:
            # Elsewhere, and once, as a hang costs a whole timeout; oftener where no other tier may follow.
            elsewhere = len(self._tier.pool.replicas) > 1
            most = self._tier.max_retries if self._order.patience is None else 1
            return not elsewhere or timeouts > most
        return faults > self._tier.max_retries

    def _again(self, ticket: Ticket, failed: set[Replica]) -> Generator[Wait, None, None]:
        """Wait as a try after the first has to: for the rate, and for a server that just failed."""
        tier = self._tier
        now = tier.clock()
        if not tier.pool.admits_another(failed, now):
            failed.clear()
            pause = min(_BACK_OFF * 2.0 ** min(len(self._tries) - 1, 30), _LONGEST_BACK_OFF)
            pause *= random.uniform(0.75, 1.25)  # noqa: S311  # so that calls do not come back in step
            if self._left(now) < pause:
                raise self._unavailable(f"no answer from any server: {self._tries[-1].error}")
            yield from self._wait(None, pause)
        while wait := tier.gate.again(ticket, tier.clock()):
            if self._left(tier.clock()) < wait:
                raise self._unavailable("no request left in its rate limit to try once more")
            yield from self._wait(None, wait)

    def _lease(self, avoid: set[Replica]) -> Generator[Wait, None, Lease]:
        tier = self._tier
        while True:
            tier.look()
            now = tier.clock()
            found = tier.pool.acquire(self._order.key, avoid, now)
            if isinstance(found, Lease):
                return found
            try:
                left = self._left(now)
                until = left if found.until is None else found.until - now
                if left <= 0 or until > left or tier.pool.is_hopeless(now):
                    raise self._unavailable(f"no server for the call ({tier.pool.outlook(now)})")
                yield from self._wait(found.changed, min(until, left))
            finally:
                tier.pool.forget(found)

    def _wait(self, future: Future[None] | None, seconds: float) -> Generator[Wait, None, None]:
        began = self._tier.clock()
        try:
            yield Wait(future, seconds)
        finally:
            self._waited += self._tier.clock() - began

    def _left(self, now: float, waited: float | None = None) -> float:
        """Seconds that the call may still wait, where what counts is how long it `waited` for a server.

        In the queue only the time counts in which nobody was let in. Many subtasks of one's own are a long
        queue and no outage: they neither fail nor go up the ladder for that.
        """
        over = self._to_end_of_patience(waited)
        left = self._to_deadline(now)
        return over if left is None else min(over, left)

    def _to_end_of_patience(self, waited: float | None = None) -> float:
        patience = self._order.patience
        longest = self._tier.max_wait if patience is None else min(patience, self._tier.max_wait)
        return longest - (self._waited - self._queued if waited is None else waited)

    def _to_deadline(self, now: float) -> float | None:
        return None if self._order.deadline is None else self._order.deadline - now

    def _said(self, replica: Replica, error: Exception, seconds: float) -> str:
        name = type(error).__name__
        is_late = isinstance(error, TimeoutError) or "Timeout" in name  # httpx has its own
        said = (
            f"{name}: {str(error) or (f'timed out after {seconds:.1f} s' if is_late else 'no reason given')}"
        )
        has_spoken = getattr(error, "status_code", None) is not None  # the server; its client adds nothing
        for cause in (error.__cause__, error.__context__):
            if cause is not None and not has_spoken and str(cause) and str(cause) not in said:
                said += f" ({type(cause).__name__}: {cause})"
                break
        return replica.without_secrets(said)[:500]

    def _given_up(self, failure: Failure) -> TierError:
        tries = f" ({len(self._tries)} tries)" if len(self._tries) > 1 else ""
        text = f"tier {self._tier.name!r} gave no answer: {failure.text}{tries}"
        match failure.kind:
            case Kind.OVERFLOW:
                return ContextOverflowError(text)
            case Kind.DENIED:
                return TierAccessError(f"{text}; check the tier's key, and what it may do")
            case Kind.TIMEOUT:
                return TierTimeoutError(text)
            case Kind.BUSY | Kind.UNREACHED:
                return TierUnavailableError(text)
            case _:
                error = TierError(text)
                error.passing = failure.kind in (Kind.BROKEN, Kind.SERVER)
                return error

    def _too_late(self) -> TierError:
        return TierTimeoutError(
            f"tier {self._tier.name!r} gave no answer: the time allowed was over before it was asked; "
            "raise the budget's seconds, or the worker's run_timeout"
        )

    def _unavailable(self, why: str) -> TierError:
        left = self._to_deadline(self._tier.clock())
        if left is not None and (left <= 0 or left < self._to_end_of_patience()):
            return TierTimeoutError(
                f"tier {self._tier.name!r} had {why}; the time allowed was over, after "
                f"{self._waited:.1f} s of waiting; raise the budget's seconds, or the worker's run_timeout"
            )
        return TierUnavailableError(f"tier {self._tier.name!r} had {why}; waited {self._waited:.1f} s")


def shortest(*seconds: float | None) -> float | None:
    """The shortest of some limits; None is none."""
    return min((each for each in seconds if each is not None), default=None)
