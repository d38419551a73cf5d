"""The terms of an attempt: what the budget leaves it, and whether another one may follow.

Where one may, a call that finds its tier exhausted soon gives up, and the subtask goes up the ladder; where
none may, it waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.config import get_config

from stellwerk.account import refusal
from stellwerk.budget import Budget
from stellwerk.error_policy import ErrorPolicy
from stellwerk.ledger import Priced
from stellwerk.nodes.state import Left, Terms, TimeLeft
from stellwerk.nodes.step import Ask
from stellwerk.outcome import Attempt, Call, Usage
from stellwerk.spending import expected_spending, spending_of
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import CHARACTERS_PER_TOKEN, Tier
from stellwerk.worker import Brief, Worker

_UNCOUNTED = 0.05
"""Seconds. What lies between calls is not measured: so little left is that, and no time for another call."""


def terms_of(
    tier: str, ladder: Ladder, budget: Budget, attempts: Sequence[Attempt], worker: Worker, brief: Brief
) -> Terms:
    """The terms of an attempt on a tier, after those."""
    above = ladder.above(tier)
    last = (
        above is None
        or above.gate is ladder.tier(tier).gate  # on the same hardware there is nothing to gain
        or not budget.allows(len(attempts) + 1, len(ladder))
        or not affordable(above, ladder, budget, attempts, worker, brief)
    )
    seconds = None
    if budget.seconds is not None:
        seconds = budget.seconds - sum(_seconds(attempt["calls"]) for attempt in attempts)
        if attempts and seconds < min(_UNCOUNTED, budget.seconds / 10):
            seconds = 0.0
    terms = Terms(last=last, seconds=seconds)
    if budget.counts_spending:
        spent = spending_of(calls_of(attempts), prices_of(ladder))
        terms["left"] = Left(
            usd=None if budget.usd is None else budget.usd - spent.usd,
            tokens=None if budget.tokens is None else budget.tokens - spent.tokens,
            calls=None if budget.calls is None else budget.calls - spent.calls,
            output=_expected(attempts, worker, brief)["output"],
        )
    return terms


def affordable(
    tier: Tier, ladder: Ladder, budget: Budget, attempts: Sequence[Attempt], worker: Worker, brief: Brief
) -> bool:
    """Whether the budgets of the subtask and of the run allow an attempt on a tier."""
    if not budget.counts_spending and brief.purse is None:
        return True
    expected = expected_spending(tier.price, _expected(attempts, worker, brief))
    if brief.purse is not None and not brief.purse.account.allows(expected):
        return False
    spent = spending_of(calls_of(attempts), prices_of(ladder))
    return budget.exceeded_by(spent.plus(expected)) is None


def prices_of(tiers: Iterable[Tier]) -> dict[str, Priced | None]:
    """The price of each tier."""
    return {tier.name: tier.price for tier in tiers}


def calls_of(attempts: Sequence[Attempt]) -> list[Call]:
    """All calls of attempts."""
    return [call for attempt in attempts for call in attempt["calls"]]


def check_left(terms: Terms | None, ask: Ask, calls: Sequence[Call]) -> None:
    """Check that the subtask's budget allows a call, after those of its attempt.

    Raises:
        BudgetError: if it does not.
    """
    left = terms.get("left") if terms is not None else None
    if left is None:
        return
    most = ask.request.max_tokens
    output = left["output"] if most is None else min(left["output"], most)
    usage = Usage(input=ask.request.expected_input, cached=0, output=output)
    spent = spending_of(calls, {ask.tier.name: ask.tier.price})
    expected = expected_spending(ask.tier.price, usage)
    limits = {"usd": left["usd"], "tokens": left["tokens"], "calls": left["calls"]}
    for name, limit in limits.items():
        if limit is not None and getattr(spent, name) + getattr(expected, name) > limit:
            raise refusal("subtask", name, limit, spent, expected)


def flow_of_run() -> str:
    """The run that this step belongs to: its thread, or what LangGraph calls the run inside its process."""
    configurable = get_config().get("configurable") or {}
    place = str(configurable.get("checkpoint_ns") or "").partition("|")[0]
    return str(configurable.get("thread_id") or place)


def waiting(
    state: Mapping[str, Any], tier: Tier, calls: Sequence[Call], brief: Brief, errors: ErrorPolicy
) -> dict[str, Any]:
    """How long a call of this attempt waits, as arguments of a `Request`; `calls` are those made so far."""
    terms: Terms | None = state.get("terms")
    arguments: dict[str, Any] = {"flow": flow_of_run()}
    if terms is not None and not terms["last"]:
        arguments["patience"] = tier.patience
    ends = []
    if (left := time_left(terms, calls, errors)) is not None:
        ends.append(time.monotonic() + left["seconds"])
    if brief.purse is not None and (of_run := brief.purse.account.deadline) is not None:
        ends.append(of_run)
    if ends:
        arguments["deadline"] = min(ends)
    if errors.idle_timeout is not None:
        arguments["idle"] = errors.idle_timeout
    return arguments


def time_left(terms: Terms | None, calls: Sequence[Call], errors: ErrorPolicy) -> TimeLeft | None:
    """What is left of the time of a subtask, or of the attempt if that is less; None for no limit."""
    left = []
    if terms is not None and terms["seconds"] is not None:
        left.append(TimeLeft(seconds=terms["seconds"] - _seconds(calls), of="subtask"))
    if errors.run_timeout is not None:
        left.append(TimeLeft(seconds=errors.run_timeout - _seconds(calls), of="attempt"))
    return min(left, key=lambda each: each["seconds"], default=None)


def _seconds(calls: Sequence[Call]) -> float:
    """What calls took: models, what they waited at tiers, and tools."""
    return sum(
        call["seconds"] + call.get("waited", 0.0) + sum(use["seconds"] for use in call.get("tools", ()))
        for call in calls
    )


def _expected(attempts: Sequence[Attempt], worker: Worker, brief: Brief) -> Usage:
    """What another attempt takes: as much as the last answer did, or what the prompt looks like."""
    for attempt in reversed(attempts):
        usages = [
            call["usage"] for call in attempt["calls"] if "error" not in call and call["step"] != "repair"
        ]
        if usages:  # several where the worker called tools
            return Usage(
                input=sum(usage["input"] for usage in usages),
                cached=sum(usage["cached"] for usage in usages),
                output=sum(usage["output"] for usage in usages),
            )
    characters = len(brief.source) + len(brief.instruction) + len(worker.prompt_for(brief))
    return Usage(input=characters // CHARACTERS_PER_TOKEN, cached=0, output=worker.max_tokens)
