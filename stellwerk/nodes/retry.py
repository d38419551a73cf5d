"""Retry: whether an attempt is made once more on the same tier, by the worker's error policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stellwerk.error_policy import ErrorPolicy
from stellwerk.outcome import Attempt


class Retry(NamedTuple):
    """Which retry on its tier it is, from 1 on, and the seconds to wait before it."""

    number: int
    pause: float


def retry_of(policy: ErrorPolicy, attempts: Sequence[Attempt]) -> Retry | None:
    """The retry that follows on these attempts; None if none does."""
    verdict = attempts[-1]["verdict"]
    if verdict["accepted"] or not verdict.get("passing") or verdict.get("reason") not in policy.retry_on:
        return None
    number = tries = 0
    for attempt in reversed(attempts):
        # What the tier has tried itself is a call each.
        tries += max(1, sum("error" in call for call in attempt["calls"]))
        number += 1
        if "retry" not in attempt:
            break
    return Retry(number, policy.pause(tries)) if tries <= policy.retries else None


def retries_in(attempts: Sequence[Attempt]) -> int:
    """How many of the attempts are retries, which no budget of attempts counts."""
    return sum("retry" in attempt for attempt in attempts)
