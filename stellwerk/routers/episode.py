"""Episodes: what routers learn from, and are judged on. One episode is one subtask with its attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stellwerk.outcome import Attempt
from stellwerk.routing_context import RoutingContext
from stellwerk.tiers.tier import Price

Source = Literal["gold", "person", "judge", "run", "check"]
"""Who says whether an answer is right: a known answer, a person, a judging model, the outcome of the whole
run, or the worker's own checks, which know the least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """How right an answer is.

    Args:
        right: from 0 to 1.
        source: who says so.
        weight: how far that is believed, from 0 to 1.
    """

    right: float
    source: Source
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one attempt, as far as a router may know it.

    Args:
        tier: where it ran.
        accepted: whether the worker's checks took the answer.
        reason: why not.
        usd: what its calls cost.
        seconds: that its calls took.
        input: prompt tokens, over all calls.
        output: tokens of the answers, over all calls.
        calls: how many there were: more than one after a repair, or with tools.
        logprobs: summary of the last answer's log-probabilities (`mean`, `min`, `entropy`, ... in nats).
        answer: the same text for the same answer, to see which attempts agree; empty if there is none.
        propensity: with which the router picked this tier here, in (0, 1].
        label: whether the answer is right, where that is known.
        trace_id: of the stored attempt, or empty.
    """

    tier: str
    accepted: bool
    reason: str | None = None
    usd: float = 0.0
    seconds: float = 0.0
    input: int = 0
    output: int = 0
    calls: int = 1
    logprobs: Mapping[str, float] | None = None
    answer: str = ""
    propensity: float = 1.0
    label: Label | None = None
    trace_id: str = ""

    @classmethod
    def of(cls, attempt: Attempt, price: Price | None = None) -> Outcome:
        """The outcome of an attempt in the history of a subtask; a tier without a price counts as free."""
        calls = attempt["calls"]
        usd = 0.0 if price is None else sum(price.usd(call["usage"], call["seconds"]) for call in calls)
        verdict = attempt["verdict"]
        return cls(
            tier=attempt["tier"],
            accepted=verdict["accepted"],
            reason=verdict.get("reason"),
            usd=usd,
            seconds=sum(call["seconds"] for call in calls),
            input=sum(call["usage"]["input"] for call in calls),
            output=sum(call["usage"]["output"] for call in calls),
            calls=len(calls),
            logprobs=next((call["logprobs"] for call in reversed(calls) if "logprobs" in call), None),
            answer=attempt.get("answer", ""),
            propensity=attempt["decision"]["propensity"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One subtask and what came of each attempt at it.

    Args:
        id: names the episode; splits are made by ids.
        context: what was known before the first attempt.
        outcomes: in the order in which they were tried.
        complete: whether every tier was tried whatever the others gave, so that any policy can be replayed.
        group: episodes that must not stand on two sides of a split share it (a document, say).
        at: when it began, in seconds since the epoch; 0.0 if unknown.
        stopped: propensity with which the router stopped after the last outcome, in (0, 1].
    """

    id: str
    context: RoutingContext
    outcomes: tuple[Outcome, ...]
    complete: bool = False
    group: str = ""
    at: float = 0.0
    stopped: float = 1.0

    def outcome(self, tier: str) -> Outcome | None:
        """The first outcome on a tier."""
        return next((outcome for outcome in self.outcomes if outcome.tier == tier), None)
