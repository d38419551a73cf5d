"""The terms of an attempt: what the budget leaves it, and whether another one may follow.

Where one may, a call that finds its tier exhausted soon gives up, and the subtask goes up the ladder; where
none may, it waits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.config import get_config

from stellwerk.budget import Budget
from stellwerk.ledger import Priced
from stellwerk.nodes.state import Terms
from stellwerk.outcome import Attempt, Call, Usage
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import CHARACTERS_PER_TOKEN, Tier
from stellwerk.worker import Brief, Worker


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
    left = None
    if budget.seconds is not None:
        left = budget.seconds - sum(_seconds(attempt["calls"]) for attempt in attempts)
    return Terms(last=last, seconds=left)


def affordable(
    tier: Tier, ladder: Ladder, budget: Budget, attempts: Sequence[Attempt], worker: Worker, brief: Brief
) -> bool:
    """Whether the budget's money allows an attempt on a tier."""
    if budget.usd is None:
        return True
    if tier.price is None:
        return False
    calls = [call for attempt in attempts for call in attempt["calls"]]
    prices: dict[str, Priced | None] = {each.name: each.price for each in ladder}
    spent = 0.0
    for call in calls:
        price = prices.get(call["tier"])
        spent += price.usd(call["usage"], call["seconds"]) if price is not None else 0.0
    return spent + tier.price.usd(_expected(attempts, worker, brief)) <= budget.usd


def flow_of_run() -> str:
    """The run that this step belongs to: its thread, or what LangGraph calls the run inside its process."""
    configurable = get_config().get("configurable") or {}
    place = str(configurable.get("checkpoint_ns") or "").partition("|")[0]
    return str(configurable.get("thread_id") or place)


def waiting(state: Mapping[str, Any], tier: Tier, calls: Sequence[Call]) -> dict[str, Any]:
    """How long a call of this attempt waits, as arguments of a `Request`; `calls` are those made so far."""
    terms: Terms | None = state.get("terms")
    arguments: dict[str, Any] = {"flow": flow_of_run()}
    if terms is not None and not terms["last"]:
        arguments["patience"] = tier.patience
    if terms is not None and terms["seconds"] is not None:
        arguments["deadline"] = time.monotonic() + terms["seconds"] - _seconds(calls)
    return arguments


def _seconds(calls: Sequence[Call]) -> float:
    return sum(call["seconds"] + call.get("waited", 0.0) for call in calls)


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
    characters = len(brief.source) + len(brief.instruction) + len(worker.prompt)
    return Usage(input=characters // CHARACTERS_PER_TOKEN, cached=0, output=worker.max_tokens)
