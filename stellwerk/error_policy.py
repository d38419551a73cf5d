"""The error policy of a worker: what is tried again, how long it may take, what its failure means."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Reason

OnFailure = Literal["skip", "substitute", "fail"]

RETRYABLE = frozenset({Reason.UNAVAILABLE, Reason.TIMEOUT, Reason.TIER, Reason.WORKER})
"""Failures that may pass by themselves. The rest is for the repair, and for the next tier."""

MOST_RETRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorPolicy:
    """What a worker does about failures.

    A retry is one more attempt on the same tier, before the router is asked for another. It is made only
    where what went wrong may pass by itself: a server that is down, busy, too late or broke off; or an
    exception of the worker's own code for which LangGraph would run a node again. The tries that a tier has
    made itself count.

    Args:
        retries: at most so many on one tier.
        retry_on: the reasons that are worth one: `unavailable`, `timeout`, `tier`, `worker`.
        initial_interval: seconds to wait at most before the first retry; doubles with each. How long exactly
            is drawn evenly from zero on: who failed together shall not come back together.
        max_interval: seconds to which that grows.
        run_timeout: seconds for an attempt in all: its calls of models and tools, and what those wait at
            tiers. None for no limit but the tier's and the budget's.
        idle_timeout: seconds without a token, the first one included; where a tier does not stream, to the
            reply. None for no limit but the tier's.
        on_failure: what it means for those who need the result. `"skip"`: they are skipped. `"substitute"`:
            they are given `substitute`, and the result stays failed. `"fail"`: they are skipped, nothing is
            planned anew, and nothing is merged; all others go on to their end, and what they gave is kept.
        substitute: a value of the worker's output model, as a mapping or an instance.

    Raises:
        ConfigurationError: if a number is out of range, or a name is unknown.
    """

    retries: int = 0
    retry_on: Collection[Reason | str] = RETRYABLE
    initial_interval: float = 0.5
    max_interval: float = 30.0
    run_timeout: float | None = None
    idle_timeout: float | None = None
    on_failure: OnFailure = "skip"
    substitute: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.retries <= MOST_RETRIES:
            raise ConfigurationError(f"retries is {self.retries}; give 0 to {MOST_RETRIES}")
        named = [self.retry_on] if isinstance(self.retry_on, str) else self.retry_on
        if unknown := sorted({str(reason) for reason in named} - RETRYABLE):
            raise ConfigurationError(
                f"retry_on has {unknown[0]!r}; what may pass by itself: {', '.join(sorted(RETRYABLE))}"
            )
        object.__setattr__(self, "retry_on", frozenset(Reason(reason) for reason in named))
        for name in ("initial_interval", "max_interval", "run_timeout", "idle_timeout"):
            seconds = getattr(self, name)
            if seconds is None and name.endswith("timeout"):
                continue
            if not seconds > 0:
                raise ConfigurationError(f"{name} is {seconds}; give seconds above 0")
        if self.on_failure not in get_args(OnFailure):
            raise ConfigurationError(
                f"on_failure is {self.on_failure!r}; give one of {', '.join(get_args(OnFailure))}"
            )
        if (self.substitute is not None) != (self.on_failure == "substitute"):
            given = "there is none" if self.substitute is None else f"it is {self.substitute!r}"
            raise ConfigurationError(
                f"on_failure is {self.on_failure!r}, and substitute: {given}; the one goes with the other"
            )

    def pause(self, retry: int) -> float:
        """Seconds to wait before a retry, from 1 on: drawn evenly up to a limit that doubles."""
        longest = min(self.initial_interval * 2.0 ** min(retry - 1, 60), self.max_interval)
        return random.uniform(0.0, longest)  # noqa: S311  # no secret
