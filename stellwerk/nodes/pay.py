"""Pay: have what a call may take set aside before it is made, and put down what it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from stellwerk.account import Account, Purse, refusal, time_is_over
from stellwerk.budget import RunBudget
from stellwerk.errors import BudgetError, TierError
from stellwerk.ledger import Priced
from stellwerk.nodes.people import can_ask
from stellwerk.nodes.state import OrchestratorState, all_results
from stellwerk.nodes.step import Ask, Asking, Both, Work
from stellwerk.nodes.terms import calls_of
from stellwerk.outcome import Call, SubtaskResult, Usage
from stellwerk.spending import Spending, expected_spending, spending_of
from stellwerk.tiers.tier import Reply

Prices = Mapping[str, Priced | None]
T = TypeVar("T")


def paid(
    purse: Purse, ask: Ask, calls: Sequence[Call], answered: Generator[Work, Any, Reply]
) -> Generator[Work, Any, Reply]:
    """The reply to a call, made once the run's account has enough.

    Args:
        purse: pays for it.
        ask: the call.
        calls: of the attempt, to which this one is added.
        answered: makes it.

    Raises:
        TierError: what the call came to, or a `BudgetError` if it is not made.
    """
    account, owner = purse.account, purse.owner
    try:
        place = account.reserve(owner, calls, most(ask))
        yield Both(place.result, partial(asyncio.wrap_future, place))
        return (yield from answered)
    finally:  # also where the step is cancelled
        account.settle(owner, calls)


def most(ask: Ask) -> Spending:
    """What a call may take: its prompt, as far as its length tells, and as much as it may write."""
    request = ask.request
    usage = Usage(input=request.expected_input, cached=0, output=request.max_tokens or 0)
    return expected_spending(ask.tier.price, usage)


def open_account(state: OrchestratorState, prices: Prices) -> Account | None:
    """The account of a run whose subtasks are about to run; None where it has no budget."""
    budget = RunBudget.of(state.get("limits"))
    if not budget.record():
        return None
    spent = spending_of(_made(state), prices)
    return Account(budget, prices, spent=spent, seconds=state.get("worked", 0.0))


def closed(account: Account | None) -> dict[str, Any]:
    """What the state learns of the account, once the subtasks have run."""
    if account is None:
        return {}
    update: dict[str, Any] = {"worked": account.worked}
    if account.ended:
        update["budget_ended"] = account.ended
    return update


def put_down(account: Account, result: SubtaskResult) -> None:
    """Put down what a subtask took."""
    account.attempted(result["id"], calls_of(result["attempts"]))


def is_resumed(config: RunnableConfig) -> bool:
    """Whether a subtask, in whose step this is, may have begun before the run was resumed."""
    # LangGraph has no public word for it; where it no longer said so, every subtask would be looked up.
    return can_ask(config) and bool((config.get("configurable") or {}).get("__pregel_resuming", True))


def put_down_before(account: Account, subtask: str, stored: StateSnapshot) -> None:
    """Put down what a subtask took before the run was resumed, where it had not ended by then.

    Args:
        account: of the run.
        subtask: its id.
        stored: its state, with that of the attempt under way.
    """
    attempts, calls = stored.values.get("attempts") or [], stored.values.get("calls") or []
    for under_way in stored.tasks:
        if isinstance(under_way.state, StateSnapshot):
            calls = under_way.state.values.get("calls") or []
    if attempts and attempts[-1]["calls"] == calls:  # of the last one, no other being under way
        calls = []
    account.attempted(subtask, calls_of(attempts), calls)


def afforded(state: OrchestratorState, prices: Prices, ask: Ask, calls: Sequence[Call]) -> Asking:
    """The reply to a call of the supervisor, if the run's budget allows it.

    Args:
        state: of the run.
        prices: by tier.
        ask: the call.
        calls: that the supervisor made since the state was written.

    Raises:
        BudgetError: if it does not, and no call was made.
        TierError: what the call came to.
    """
    budget = RunBudget.of(state.get("limits"))
    if not budget.record():
        return (yield ask)
    spent, expected = spending_of([*_made(state), *calls], prices), most(ask)
    if limit := budget.exceeded_by(spent.plus(expected)):
        raise refusal("run", limit, getattr(budget, limit), spent, expected)
    if budget.seconds is not None:
        left = budget.seconds - state.get("worked", 0.0) - sum(call["seconds"] for call in calls)
        if left <= 0:
            raise time_is_over(budget)
        ask = replace(ask, request=replace(ask.request, deadline=time.monotonic() + left))
    return (yield ask)


def affording(
    asking: Generator[Ask, Reply, T], state: OrchestratorState, prices: Prices
) -> Generator[Ask, Reply, tuple[T, str]]:
    """What a part of the supervisor comes to, each of whose calls is made if the run's budget allows it.

    Args:
        asking: the part, into which a `BudgetError` is thrown for a call that is not made.
        state: of the run.
        prices: by tier.

    Returns:
        That, and the limit for which a call was not made, or an empty text.
    """
    made: list[Call] = []
    over = ""
    try:
        ask = next(asking)
        while True:
            try:
                reply = yield from afforded(state, prices, ask, made)
            except TierError as error:
                if isinstance(error, BudgetError):
                    over = error.limit
                ask = asking.throw(error)
            else:
                tier, usage = ask.tier.name, reply.usage
                made.append(Call(step="plan", owner="", tier=tier, usage=usage, seconds=reply.seconds))
                ask = asking.send(reply)
    except StopIteration as stop:
        return stop.value, over


def _made(state: OrchestratorState) -> list[Call]:
    calls = list(state.get("calls", ()))
    for result in all_results(state).values():
        calls += calls_of(result["attempts"])
    return calls
