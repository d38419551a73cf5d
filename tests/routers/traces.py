"""Stored traces for tests of what routers learn from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from stellwerk.outcome import DecisionRecord
from stellwerk.routing_context import RoutingContext
from stellwerk.trace import BareAttempt, StoredFeedback, trace_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def context(instruction: str = "Find the sales", **changed: Any) -> RoutingContext:
    values: dict[str, Any] = {
        "worker": "extract",
        "worker_version": "abc",
        "instruction": instruction,
        "prompt": 9,
        "fields": 1,
        "choices": 0,
        "depth": 1,
        "tools": [],
        "max_tokens": 512,
        "source": 200,
        "inputs": 0,
        "position": 0,
        "size": 1,
        **changed,
    }
    return cast(RoutingContext, values)


def stored(subtask: str = "a", number: int = 1, **changed: Any) -> BareAttempt:
    """An attempt of the subtask that ended so many seconds after noon."""
    run, thread = changed.get("run_id", "run"), changed.get("thread_id", "thread")
    tier = changed.get("tier", "small")
    values: dict[str, Any] = {
        "trace_id": name(subtask, number, run, thread),
        "run_id": run,
        "thread_id": thread,
        "subtask": subtask,
        "worker": "extract",
        "worker_version": "abc",
        "tier": tier,
        "model": "m",
        "number": number,
        "decision": DecisionRecord(
            tier=tier, router="random", version="1", propensity=0.5, why="it fell so", estimates={}
        ),
        "accepted": True,
        "reason": None,
        "value_hash": "ab" * 8,
        "calls": [{}, {}],
        "input": 100,
        "cached": 0,
        "output": 7,
        "usd": 0.25,
        "seconds": 1.5,
        "logprobs": {"mean": -0.5},
        "context": context(),
        "episode": name(subtask, 0, run, thread),
        "created_at": NOON + timedelta(seconds=number),
        **changed,
    }
    return cast(BareAttempt, values)


def name(subtask: str = "a", number: int = 1, run: str = "run", thread: str = "thread") -> str:
    return trace_id(thread, run, "execute:1", subtask, number)


def said(trace: str | None = None, label: str | None = None, **changed: Any) -> StoredFeedback:
    """Feedback on an attempt, or on the run of that name."""
    values: dict[str, Any] = {
        "trace_id": trace,
        "run_id": None if trace else "run",
        "thread_id": "thread",
        "score": None,
        "label": label,
        "comment": None,
        "who": None,
        "source": "person",
        "created_at": NOON,
        **changed,
    }
    return cast(StoredFeedback, values)


@dataclass
class Memory:
    """Traces in memory."""

    attempts: Sequence[BareAttempt] = ()
    opinions: Sequence[StoredFeedback] = field(default_factory=list)

    def bare_attempts(
        self, *, newest_first: bool = True, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BareAttempt]:
        assert not newest_first
        for one in sorted(self.attempts, key=lambda one: one["created_at"]):
            if (since is None or one["created_at"] >= since) and (until is None or one["created_at"] < until):
                yield one

    def feedback(self, *, newest_first: bool = True) -> Iterator[StoredFeedback]:
        assert not newest_first
        return iter(self.opinions)
