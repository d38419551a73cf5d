"""The policy: from what is believed to what is done next, stop or try a tier.

Cascade routing (Dekoninck et al. 2024, arXiv 2410.10347): before each attempt, stopping with the best answer
in hand is weighed against trying any tier that is left. Here by induction from the end of the ladder: a plan
is worth `price` times the chance that it serves a right answer, less what it is expected to cost.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stellwerk.errors import ConfigurationError
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Outcome

_NONE = -1.0
"""In hand where there is no answer."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do next.

    Args:
        tier: place of the tier to try in the ladder, or None to stop.
        serve: place among the attempts of the answer to stop with; None where nothing is served.
        right: chance that the plan which begins so serves a right answer.
        usd: what that plan is expected to cost from here on.
    """

    tier: int | None
    serve: int | None
    right: float = 0.0
    usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How careful to be.

    `price` is the dial. At 0 the cheapest way to an accepted answer is taken. The higher it is, the higher
    are both the chance of a right answer and the expected cost, and who stops at one price stops at all lower
    ones (the plan is the best of a set that does not depend on the price). At infinity everything goes to the
    largest tier, once.

    An answer that the checks rejected is never served. As long as nothing is accepted and a larger tier is
    left, the policy goes on, unless it may abstain; it always makes one attempt.

    Args:
        price: of a failure, in USD.
        serve: an answer that is believed less than this is not served; above 0 the policy may abstain.
        usd_per_second: what a second is worth, for tiers that are paid in time.
        notice: share of the wrong answers among the accepted that is expected to show once they are there.
        agreement: whether a second answer counts as a witness of the first, when plans are weighed; then a
            cheap one may be bought for that. Worth it where the model's beliefs heed which answers agree.
        coincidence: chance that two wrong answers are the same.
        route_only: never go on from an answer that can be served: the tier is picked before the attempt.
        cascade_only: begin at the smallest tier and leave none out.
        start: place of the tier to begin with, whatever is believed; from there up the ladder until an answer
            is accepted, as without a model. The price does not matter then.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    price: float
    serve: float = 0.0
    usd_per_second: float = 0.0
    notice: float = 0.0
    agreement: bool = False
    coincidence: float = 0.1
    route_only: bool = False
    cascade_only: bool = False
    start: int | None = None

    def __post_init__(self) -> None:
        for name in ("price", "usd_per_second"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} of a policy is {getattr(self, name)}; it is 0 USD or more")
        for name in ("serve", "notice", "coincidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} of a policy is {getattr(self, name)}; it is from 0 to 1")
        if self.start is not None and self.start < 0:
            raise ConfigurationError(f"start of a policy is {self.start}; it is a tier's place, from 0")
        if math.isinf(self.usd_per_second):
            raise ConfigurationError("usd_per_second of a policy is infinite; name what a second is worth")

    @property
    def is_largest(self) -> bool:
        """Whether everything goes to the largest tier."""
        return math.isinf(self.price)

    def choose(
        self,
        belief: Belief,
        outcomes: Sequence[Outcome],
        tiers: Sequence[str],
        closed: Collection[str] = (),
    ) -> Choice:
        """What to do after those attempts.

        Args:
            belief: what is expected after them.
            outcomes: the attempts so far, oldest first.
            tiers: the ladder's names, cheapest first, as in the belief.
            closed: tiers that cannot be tried.
        """
        tried = {outcome.tier for outcome in outcomes}
        highest = max((place for place, name in enumerate(tiers) if name in tried), default=-1)
        open_ = [place for place, name in enumerate(tiers) if name not in tried and name not in closed]
        hand, serve = self._in_hand(belief, outcomes)
        stop = Choice(None, serve, hand if serve is not None else 0.0)
        if self.start is not None:
            rest = [place for place in open_ if place >= self.start and place > highest]
            if not outcomes and not rest:
                rest = open_[-1:]
            if hand > _NONE or not rest:
                return stop
            return Choice(rest[0], None, belief.right[rest[0]], belief.usd[rest[0]])
        if self.is_largest:
            if outcomes or not open_:
                return stop
            usd = belief.usd[open_[-1]] + self.usd_per_second * belief.seconds[open_[-1]]
            return Choice(open_[-1], None, belief.right[open_[-1]], usd)
        above = [place for place in open_ if place > highest]
        left = above[:1] if self.cascade_only else open_
        if not left or (self.route_only and serve is not None):
            return stop
        must = not outcomes or (hand == _NONE and self.serve == 0.0 and bool(above))
        best, value = stop, -math.inf if must else self.price * stop.right
        plans = _Plans(self, belief, open_)
        for number, place in enumerate(open_):
            if place not in left:
                continue
            right, usd = plans.attempt(hand, number)
            if self.price * right - usd > value:
                best, value = Choice(place, None, right, usd), self.price * right - usd
        return best

    def _in_hand(self, belief: Belief, outcomes: Sequence[Outcome]) -> tuple[float, int | None]:
        """The best accepted answer, the latest of equals, and its place if it may be served."""
        hand, place = _NONE, None
        for number, outcome in enumerate(outcomes):
            if outcome.accepted and belief.answers[number] >= hand:
                hand, place = belief.answers[number], number
        return hand, place if hand >= self.serve else None

    def record(self) -> dict[str, Any]:
        """As JSON, which has no infinity: the price of the policy that takes the largest tier is None."""
        return asdict(self) | {"price": None if self.is_largest else self.price}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Policy:
        """The policy of a record.

        Raises:
            ConfigurationError: the record has unknown keys, lacks the price, or has a value of another type.
        """
        unknown = sorted(set(record) - set(cls.__dataclass_fields__))
        if unknown or "price" not in record:
            raise ConfigurationError(f"no record of a policy: price is missing, or unknown keys {unknown}")
        try:
            return cls(**{**record, "price": math.inf if record["price"] is None else record["price"]})
        except TypeError as error:
            raise ConfigurationError(f"no record of a policy: {error}") from error

    def at(self, price: float) -> Policy:
        """The same policy at another price."""
        return replace(self, price=price)

    def largest(self) -> Policy:
        """The most careful one: everything goes to the largest tier."""
        return replace(self, price=math.inf, start=None)


CHEAPEST = Policy(price=0.0)
"""The cheapest way to an accepted answer."""


class _Plans:
    """Values of plans from one belief on. Later attempts go up the ladder, as cheap ones come first."""

    __slots__ = ("_answer", "_policy", "_usable", "_usd")

    def __init__(self, policy: Policy, belief: Belief, places: Sequence[int]) -> None:
        self._policy = policy
        self._usd: list[float] = []
        self._usable: list[float] = []
        self._answer: list[float] = []
        for place in places:
            right, usd = belief.right[place], belief.usd[place]
            accept = max(belief.accept[place], right)
            usable = accept - policy.notice * (accept - right)
            if policy.usd_per_second:
                usd += policy.usd_per_second * belief.seconds[place]
            self._usd.append(usd)
            self._usable.append(usable)
            self._answer.append(right / usable if usable > 0.0 else 0.0)

    def attempt(self, hand: float, number: int) -> tuple[float, float]:
        """The best plan that makes this attempt next: its chance of a right answer, and its cost in USD."""
        policy = self._policy
        usable, answer = self._usable[number], self._answer[number]
        right, usd = 0.0, self._usd[number]
        if usable < 1.0:
            gain, cost = self._after(hand, number)
            right, usd = (1.0 - usable) * gain, usd + (1.0 - usable) * cost
        if usable <= 0.0:
            return right, usd
        if hand > 0.0 and policy.agreement:
            both = hand * answer
            same = both + policy.coincidence * (1.0 - hand) * (1.0 - answer)
            if same > 0.0:
                gain, cost = self._after(both / same, number)
                right, usd = right + usable * same * gain, usd + usable * same * cost
            if same < 1.0:
                gain, cost = self._after((max(hand, answer) - both) / (1.0 - same), number)
                right, usd = right + usable * (1.0 - same) * gain, usd + usable * (1.0 - same) * cost
            return right, usd
        gain, cost = self._after(max(hand, answer), number)
        return right + usable * gain, usd + usable * cost

    def _after(self, hand: float, number: int) -> tuple[float, float]:
        """The best of stopping and of all attempts further up."""
        policy, count = self._policy, len(self._usd)
        price, right, usd = policy.price, 0.0, 0.0
        value = 0.0
        if hand >= policy.serve:
            value, right = price * hand, hand
            if policy.route_only:
                return right, usd
        elif hand == _NONE and policy.serve == 0.0 and number + 1 < count:
            value = -math.inf
        for further in range(number + 1, min(number + 2, count) if policy.cascade_only else count):
            if price - self._usd[further] <= value:
                continue  # not even a right answer for sure would be worth it
            gain, cost = self.attempt(hand, further)
            if price * gain - cost > value:
                value, right, usd = price * gain - cost, gain, cost
        return right, usd
