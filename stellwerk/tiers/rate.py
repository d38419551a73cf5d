"""A rate limit over a sliding window: so many requests and so many tokens in any minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from stellwerk.errors import ConfigurationError

MINUTE = 60.0  # seconds


@dataclass(slots=True)
class Spent:
    """One request that counts; `tokens` may be put right later, as the window is summed up anew."""

    at: float
    tokens: int


class Rate:
    """At most `requests` and `tokens` in any window of a minute; None for no limit.

    A window that slides holds for a server that counts by the clock's minutes and for one that fills a
    bucket: neither ever sees more than the limit. Not safe for threads by itself; its gate has the lock.

    Args:
        requests: per minute.
        tokens: per minute, prompts and answers together.

    Raises:
        ConfigurationError: if a limit is below one.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        for name, value in (("requests_per_minute", requests), ("tokens_per_minute", tokens)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}; it must be at least 1, or None for no limit")
        self.requests = requests
        self.tokens = tokens
        self._window: deque[Spent] = deque()
        self._sum = 0

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to count."""
        return self.requests is None and self.tokens is None

    def delay(self, tokens: int, now: float) -> float:
        """Seconds until a request of so many tokens may be made; 0 if it may be made now.

        One that is larger than the limit itself waits for an empty window, rather than for ever.
        """
        if self.unlimited:
            return 0.0
        self._forget(now)
        wait = 0.0
        if self.requests is not None and len(self._window) >= self.requests:
            wait = self._window[len(self._window) - self.requests].at + MINUTE - now
        if self.tokens is not None and (over := self._sum + tokens - self.tokens) > 0:
            for spent in self._window:
                wait = max(wait, spent.at + MINUTE - now)
                over -= spent.tokens
                if over <= 0:
                    break
        return max(wait, 0.0)

    def take(self, tokens: int, now: float) -> Spent | None:
        """Count a request; None where nothing is counted."""
        if self.unlimited:
            return None
        spent = Spent(now, tokens)
        self._window.append(spent)
        self._sum += tokens
        return spent

    def correct(self, spent: Spent, tokens: int) -> None:
        """Put in what a request really took."""
        if any(each is spent for each in reversed(self._window)):
            self._sum += tokens - spent.tokens
        spent.tokens = tokens

    def _forget(self, now: float) -> None:
        while self._window and self._window[0].at + MINUTE <= now:
            self._sum -= self._window.popleft().tokens
