"""What an attempt costs where it stands, rather than where it stood when it was measured.

The first prompt about a page is read whole, and the next ones find its beginning in the tier's cache. A
policy that sends one question of six to a tier pays for the page there; a record may have been the second
of a page, or the first after other work. So each attempt is charged anew: the first of its unit on a tier
as one whose prompt is not cached at all, every other as one that finds what the unit shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.routing_local.records import Spent, Try
from stellwerk.outcome import Usage
from stellwerk.tiers.ladder import Ladder


@dataclass(frozen=True)
class Pace:
    """Seconds of a tier for a prompt token that is not cached, and for a token of an answer."""

    prompt: float
    answer: float


class Charges:
    """Prices and paces, and how much of a prompt a unit shares.

    Args:
        ladder: its prices.
        tries: each with its unit.
    """

    def __init__(self, ladder: Ladder, tries: Iterable[tuple[str, Try]]) -> None:
        self._prices = {tier.name: tier.price for tier in ladder}
        cached: dict[tuple[str, str], list[int]] = defaultdict(list)
        calls: dict[str, list[Spent]] = defaultdict(list)
        for unit, one in tries:
            if one.calls:
                cached[unit, one.tier].append(one.calls[0].cached)
                calls[one.tier].extend(one.calls)
        # A few were the first of their unit, or stood behind another worker, so not the smallest.
        self._shared = {of: sorted(counts)[len(counts) // 3] for of, counts in cached.items()}
        self.paces: Mapping[str, Pace] = {tier: pace(own) for tier, own in calls.items()}

    def charge(self, unit: str, one: Try, *, first: bool) -> tuple[float, float]:
        """USD and seconds of an attempt.

        Args:
            unit: whose prompts begin alike.
            one: the attempt as measured.
            first: whether it is the first of its unit on its tier.
        """
        price = self._prices[one.tier]
        usd = seconds = 0.0
        for place, call in enumerate(one.calls):
            cached = call.cached
            if place == 0:
                cached = 0 if first else max(cached, self._shared.get((unit, one.tier), 0))
                cached = min(cached, max(call.input - 1, 0))
            if price is not None:
                usd += price.usd(Usage(input=call.input, cached=cached, output=call.output))
            seconds += call.seconds + (call.cached - cached) * self.paces[one.tier].prompt
        return usd, max(seconds, 0.0)


def pace(calls: Iterable[Spent]) -> Pace:
    """Seconds a token, by least squares through the origin over some calls."""
    aa = ab = bb = at = bt = 0.0
    for call in calls:
        new, out = call.input - call.cached, call.output
        aa, ab, bb = aa + new * new, ab + new * out, bb + out * out
        at, bt = at + new * call.seconds, bt + out * call.seconds
    if (determinant := aa * bb - ab * ab) <= 1e-9 * aa * bb:
        return Pace(at / aa if aa else 0.0, 0.0)
    prompt, answer = (bb * at - ab * bt) / determinant, (aa * bt - ab * at) / determinant
    if answer < 0:
        return Pace(at / aa, 0.0)
    return Pace(prompt, answer) if prompt >= 0 else Pace(0.0, bt / bb)
