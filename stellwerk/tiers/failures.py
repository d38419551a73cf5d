"""What an exception of a chat model means for the call, for its server and for the bill.

Told by attributes and names: clients of many makes sit behind LangChain's chat models, and none of them has
to be installed, or imported, for this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from stellwerk.errors import TierError

_LONGEST_PAUSE = 3600.0  # seconds; a server that asks for more is asked again after an hour
_BUSY = (429, 503, 529)  # 529 is what Anthropic's API answers when overloaded
# A quota that is used up does not come back by waiting; OpenAI answers 429 all the same.
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached")
_OVERFLOW = ("context_length_exceeded", "maximum context length", "exceed_context_size", "context size")
_TIMED_OUT = {"APITimeoutError", "TimeoutException", "TimeoutError"}
_NOT_REACHED = {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "PoolTimeout"}
_BROKEN_OFF = {"APIConnectionError", "TransportError", "ConnectionError"}


class BrokenStreamError(TierError):
    """A stream of a model came to no end, which clients take for one. It is its server's failure."""

    passing = True

    def __init__(self, model: str) -> None:
        super().__init__(
            f"the stream of {model!r} broke off before its end: the server stopped, or something between "
            "dropped the connection; ask again"
        )


class Kind(Enum):
    """What went wrong."""

    BUSY = "busy"
    TIMEOUT = "timeout"
    UNREACHED = "unreached"
    BROKEN = "broken"
    SERVER = "server"
    REFUSED = "refused"
    DENIED = "denied"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try came to nothing.

    Attributes:
        kind: `BUSY`: has no room now. `TIMEOUT`: no answer in time. `UNREACHED`: no connection.
            `BROKEN`: the answer was cut off or makes no sense. `SERVER`: an error of the server's own.
            `REFUSED`: the request is at fault, and would be anywhere. `OVERFLOW`: so it is, by its length.
            `DENIED`: so it is, by its key.
        pause: seconds that a busy server asked for; None if it did not say.
        text: the exception, for a person.
    """

    kind: Kind
    text: str
    pause: float | None = None

    @property
    def billed(self) -> bool:
        """Whether the server may have worked on an answer, and billed for it."""
        return self.kind in (Kind.TIMEOUT, Kind.BROKEN)


def failure_of(error: Exception) -> Failure:
    """What an exception of a chat model means."""
    text = f"{type(error).__name__}: {error}"
    names = {cls.__name__ for each in _chain(error) for cls in type(each).__mro__}
    status = getattr(error, "status_code", None)
    lowered = text.lower()
    if any(mark in lowered for mark in _OVERFLOW):
        return Failure(Kind.OVERFLOW, text)
    if isinstance(status, int) and status >= 400:
        if status in _BUSY and not any(mark in lowered for mark in _USED_UP):
            return Failure(Kind.BUSY, text, retry_after(_headers(error), time.time()))
        if status == 408:
            return Failure(Kind.TIMEOUT, text)
        if status in (401, 403):
            return Failure(Kind.DENIED, text)
        return Failure(Kind.SERVER if status >= 500 else Kind.REFUSED, text)
    if names & _NOT_REACHED:
        return Failure(Kind.UNREACHED, text)
    if names & _TIMED_OUT:
        return Failure(Kind.TIMEOUT, text)
    if names & _BROKEN_OFF or not isinstance(error, RuntimeError | AssertionError | NotImplementedError):
        return Failure(Kind.BROKEN, text)
    return Failure(Kind.REFUSED, text)


def retry_after(headers: Any, now: float) -> float | None:
    """Seconds that a server asks for with `Retry-After`, as a number or as a date (RFC 9110, 10.2.3).

    Args:
        headers: of the answer, as a mapping that ignores case.
        now: seconds since the epoch.
    """
    try:
        if milliseconds := headers.get("retry-after-ms"):  # OpenAI and Azure
            return _bounded(float(milliseconds) / 1000)
        said = headers.get("retry-after")
    except (AttributeError, ValueError):
        return None
    if not said:
        return None
    try:
        return _bounded(float(said))
    except ValueError:
        pass
    try:
        return _bounded(parsedate_to_datetime(said).timestamp() - now)
    except ValueError:
        return None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), _LONGEST_PAUSE) if seconds == seconds else None  # not for 'nan'


def _headers(error: Exception) -> Any:
    return getattr(getattr(error, "response", None), "headers", None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
