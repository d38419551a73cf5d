"""The ladder: tiers in order of price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import overload

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.tier import Tier


class Ladder(Sequence[Tier]):
    """Tiers, cheapest first.

    Args:
        tiers: in order of price, cheapest first. Where prices are known, the order is checked.

    Raises:
        ConfigurationError: if there is no tier, if two share a name, or if the order is wrong.
    """

    def __init__(self, tiers: Sequence[Tier]) -> None:
        if not tiers:
            raise ConfigurationError("the ladder has no tier; give it at least one")
        names = [tier.name for tier in tiers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(f"tiers share the name {min(twice)!r}; names must be unique")
        priced = [tier for tier in tiers if tier.price is not None]
        for lower, upper in pairwise(priced):
            assert lower.price is not None
            assert upper.price is not None
            if lower.price.output > upper.price.output:
                raise ConfigurationError(
                    f"tier {lower.name!r} ({lower.price.output} USD per million output tokens) stands below "
                    f"{upper.name!r} ({upper.price.output}); put the cheapest first"
                )
        self._tiers = tuple(tiers)
        self._uncut = self.names

    @property
    def smallest(self) -> Tier:
        """The cheapest tier."""
        return self._tiers[0]

    @property
    def largest(self) -> Tier:
        """The dearest tier."""
        return self._tiers[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tiers, cheapest first."""
        return tuple(tier.name for tier in self._tiers)

    def tier(self, name: str) -> Tier:
        """The tier of that name.

        Raises:
            ConfigurationError: naming the tiers that there are.
        """
        for tier in self._tiers:
            if tier.name == name:
                return tier
        near = get_close_matches(name, self.names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(f"there is no tier {name!r}; {hint}tiers: {', '.join(self.names)}")

    def between(self, smallest: str | None, largest: str | None) -> Ladder:
        """The ladder without the tiers below `smallest` and above `largest`; None for no such end.

        Raises:
            ConfigurationError: if there is no such tier, or none is left.
        """
        if smallest is None and largest is None:
            return self
        first = 0 if smallest is None else self.names.index(self.tier(smallest).name)
        last = len(self) - 1 if largest is None else self.names.index(self.tier(largest).name)
        if first > last:
            raise ConfigurationError(
                f"the smallest tier {smallest!r} stands above the largest, {largest!r}; "
                f"tiers, smallest first: {', '.join(self.names)}"
            )
        cut = Ladder(self._tiers[first : last + 1])
        cut._uncut = self._uncut
        return cut

    def nearest(self, name: str) -> Tier:
        """The tier of that name, or, where that was cut off, the one that is nearest to it.

        Raises:
            ConfigurationError: naming the tiers that there are.
        """
        if name in self.names or name not in self._uncut:
            return self.tier(name)
        below = self._uncut.index(name) < self._uncut.index(self.smallest.name)
        return self.smallest if below else self.largest

    def above(self, name: str) -> Tier | None:
        """The next dearer tier, or None at the top."""
        index = self.names.index(self.tier(name).name) + 1
        return self._tiers[index] if index < len(self._tiers) else None

    @overload
    def __getitem__(self, index: int) -> Tier: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tier]: ...
    def __getitem__(self, index: int | slice) -> Tier | Sequence[Tier]:
        return self._tiers[index]

    def __len__(self) -> int:
        return len(self._tiers)

    def __iter__(self) -> Iterator[Tier]:
        return iter(self._tiers)

    def __repr__(self) -> str:
        return f"Ladder({' < '.join(self.names)})"
