"""A replica: one server of a tier, and how it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from stellwerk.tiers.breaker import Breaker
from stellwerk.tiers.failures import Failure, Kind
from stellwerk.tiers.load import Load

_PAUSE = 1.0  # seconds, for a busy server that does not say; doubles while it stays busy
_LONGEST_PAUSE = 30.0  # seconds
_LEAST_SECRET = 8  # characters; a shorter one is a placeholder such as EMPTY


def _no_options(timeout: float) -> Mapping[str, Any]:
    return {}


@dataclass(eq=False)
class Replica:
    """One server of a tier.

    Args:
        name: how calls and errors call it; without secrets.
        model: the chat model that talks to it.
        options: the model's keyword arguments for a timeout in seconds, if it takes any.
        breaker: leaves it alone while it fails; None for a model that is no server.
        load: what it says of its queue; None if it is not asked.
    """

    name: str
    model: BaseChatModel
    options: Callable[[float], Mapping[str, Any]] = _no_options
    breaker: Breaker | None = field(default=None, repr=False)
    load: Load | None = field(default=None, repr=False)
    outstanding: int = field(default=0, init=False)
    answered: bool = field(default=False, init=False)
    paused_until: float = field(default=0.0, init=False)
    # Once a server was busy, only so many calls at a time go to it; each answer adds one. Or everyone who
    # waited would come at once when its pause is over, and it would be busy again.
    room: float = field(default=float("inf"), init=False)
    _busy: int = field(default=0, init=False)

    def without_secrets(self, said: str) -> str:
        """An error's text without the model's keys, which a server may repeat; errors are stored."""
        for secret in self._secrets():
            if len(secret) >= _LEAST_SECRET:
                said = said.replace(secret, "***")
        return said

    def _secrets(self) -> Iterator[str]:
        for value in vars(self.model).values():
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
        if isinstance(url := getattr(self.model, "openai_api_base", None), str):
            password = urlsplit(url).password or ""
            yield from (password, unquote(password))

    def is_told_secrets(self, error: BaseException | None) -> bool:
        """Whether an exception, or one that led to it, repeats the model's keys."""
        seen: list[BaseException] = []
        while error is not None and error not in seen:
            if self.without_secrets(said := str(error)) != said:
                return True
            seen.append(error)
            error = error.__cause__ or error.__context__
        return False

    def admits(self, now: float) -> bool:
        """Whether it may be given a call now."""
        return (
            now >= self.paused_until
            and self.outstanding < self.room
            and (self.breaker is None or self.breaker.admits(now))
        )

    def free_at(self, now: float) -> float | None:
        """When time alone will let it take a call; None if the end of another call may."""
        if self.outstanding >= self.room or (self.breaker is not None and self.breaker.probing):
            return None
        until = self.paused_until
        if self.breaker is not None and self.breaker.state(now) == "open":
            until = max(until, self.breaker.until)
        return until

    def outlook(self, now: float) -> str:
        """Why it takes no calls, for a person."""
        if now < self.paused_until:
            return f"busy for another {self.paused_until - now:.1f} s"
        if self.breaker is not None and not self.breaker.admits(now):
            return f"down, to be tried again in {max(self.breaker.until - now, 0):.1f} s"
        return f"busy with {self.outstanding} calls"

    def succeed(self, epoch: int, began: float, now: float) -> None:
        """It answered."""
        self.answered, self._busy = True, 0
        self.room += 1
        if self.breaker is not None:
            self.breaker.succeed(epoch, began, now)

    def fail(self, failure: Failure, epoch: int, began: float, now: float) -> None:
        """It did not answer, or refused."""
        match failure.kind:
            case Kind.BUSY:
                self.answered = True
                self._pause(failure.pause, now)
                if self.breaker is not None:
                    self.breaker.abandon(epoch)
            case Kind.REFUSED | Kind.DENIED | Kind.OVERFLOW:  # it works; it is the request that does not
                self.succeed(epoch, began, now)
            case _ if self.breaker is not None:
                self.breaker.fail(epoch, began, now, weight=2 if failure.kind is Kind.TIMEOUT else 1)
            case _:
                pass

    def _pause(self, seconds: float | None, now: float) -> None:
        if now >= self.paused_until:  # or the calls that were on their way would each double it
            self.room = max(1, min(self.room, self.outstanding) // 2)
            self._busy += 1
        own = min(_PAUSE * 2 ** min(self._busy - 1, 30), _LONGEST_PAUSE)  # not 2 ** 1024, an OverflowError
        self.paused_until = max(self.paused_until, now + (own if seconds is None else seconds))
