"""What calls took of a budget: money, tokens and calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stellwerk.ledger import Priced
from stellwerk.outcome import Call, Usage


class Spending(NamedTuple):
    """Money in USD, tokens read and written, and calls. On a tier without a price `usd` is infinite."""

    usd: float = 0.0
    tokens: int = 0
    calls: int = 0

    def plus(self, other: Spending) -> Spending:
        """Both together."""
        return Spending(self.usd + other.usd, self.tokens + other.tokens, self.calls + other.calls)

    def minus(self, other: Spending) -> Spending:
        """This without the other."""
        return Spending(self.usd - other.usd, self.tokens - other.tokens, self.calls - other.calls)


NOTHING = Spending()


def spending_of(calls: Iterable[Call], prices: Mapping[str, Priced | None]) -> Spending:
    """What calls took. One on a tier without a price counts as free here, as nobody knows better."""
    usd, tokens, number = 0.0, 0, 0
    for call in calls:
        price, usage = prices.get(call["tier"]), call["usage"]
        usd += price.usd(usage, call["seconds"]) if price is not None else 0.0
        tokens += usage["input"] + usage["output"]
        number += 1
    return Spending(usd, tokens, number)


def expected_spending(price: Priced | None, usage: Usage, calls: int = 1) -> Spending:
    """What a call is expected to take. Money per second of own hardware is known afterwards only."""
    usd = price.usd(usage) if price is not None else float("inf")
    return Spending(usd, usage["input"] + usage["output"], calls)
