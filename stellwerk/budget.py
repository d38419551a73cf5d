"""Budgets: how far a subtask may go before it is given up, and a run before it ends with what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.spending import Spending

_SLACK = 1e-12  # USD; sums of many small amounts are off by less


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of what calls take together; None for no limit.

    Args:
        seconds: of time.
        usd: of money.
        tokens: read and written, those from the cache included.
        calls: of models.

    Raises:
        ConfigurationError: if a limit is not above zero, or no whole number where things are counted.
    """

    seconds: float | None = None
    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if value is None:
                continue
            counted = field.name in _COUNTED
            if isinstance(value, bool) or not isinstance(value, int if counted else (int, float)):
                kind = "a whole number" if counted else "a number"
                raise ConfigurationError(f"{field.name} is {value!r}; a budget has to be {kind}, or None")
            if counted and value < 1:
                raise ConfigurationError(f"{field.name} is {value}; a budget allows at least 1")
            if not 0 < value < float("inf"):
                raise ConfigurationError(
                    f"{field.name} is {value}; a budget has to be above 0, or None for no limit"
                )

    @property
    def counts_spending(self) -> bool:
        """Whether money, tokens or calls are limited."""
        return not (self.usd is None and self.tokens is None and self.calls is None)

    def tightened(self, other: Mapping[str, Any]) -> Self:
        """The tighter of both, limit by limit; `other` has limits by their names.

        Raises:
            ConfigurationError: if a limit is none that there can be.
        """
        asked = type(self)(**other)
        both = {field.name: (getattr(self, field.name), getattr(asked, field.name)) for field in fields(self)}
        return type(self)(
            **{
                name: min((limit for limit in limits if limit is not None), default=None)
                for name, limits in both.items()
            }
        )

    def exceeded_by(self, spending: Spending) -> str | None:
        """The limit that this would exceed."""
        if self.calls is not None and spending.calls > self.calls:
            return "calls"
        if self.tokens is not None and spending.tokens > self.tokens:
            return "tokens"
        if self.usd is not None and spending.usd > self.usd + _SLACK:
            return "usd"
        return None


_COUNTED = {"attempts", "tokens", "calls"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget(Limits):
    """Limits of one subtask.

    No call is made that is expected to exceed one: it is expected to read its prompt, and to write as much as
    the subtask's last answer had, or at first as much as its worker lets it write.

    Args:
        attempts: how many attempts at most, over all tiers; None for one per tier of the ladder.
        seconds: that the calls of a subtask may take together, of models and tools, with what they wait at
            tiers. Tools that are called at once count each. Time in which a person is asked, or the run lies
            still, does not count.
        usd: that a subtask may cost. A tier without a price is then not used for another attempt.
        tokens: that its calls may read and write.
        calls: of models that it may make, repairs and rounds of tools included.

    Raises:
        ConfigurationError: if a limit is below one, or not above zero.
    """

    attempts: int | None = None

    def allows(self, attempts_made: int, tiers: int) -> bool:
        """Whether another attempt may be made."""
        return attempts_made < (self.attempts if self.attempts is not None else tiers)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunBudget(Limits):
    """Limits of a whole run, planning and merging included.

    No call is made that could exceed one: it is expected to read its prompt and to write as much as it may.
    Where calls under way leave too little, others wait for them to end, as they mostly take less. When the
    budget ends, what runs is ended, nothing new is begun, and the run ends with what it has.

    Args:
        seconds: that the run may work. Time in which it lies still does not count: a run that is resumed has
            all of its time again, but for what planning took.
        usd: that it may cost. A tier without a price is then not used at all.
        tokens: that its calls may read and write.
        calls: of models.

    Raises:
        ConfigurationError: if a limit is below one, or not above zero.
    """

    def within(self, other: Mapping[str, Any]) -> RunBudget:
        """The tighter of both, limit by limit; `other` is what a caller asked for.

        Raises:
            InputError: if it has other limits than these, or one that is none.
        """
        names = [field.name for field in fields(self)]
        if unknown := [name for name in other if name not in names]:
            raise InputError(f"the budget has {unknown[0]!r}; a run has limits of {', '.join(names)}")
        try:
            return self.tightened(other)
        except ConfigurationError as error:
            raise InputError(f"the budget's {error}") from error

    def record(self) -> dict[str, Any]:
        """The limits that there are, as JSON."""
        limits = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> Self:
        """From a record."""
        return cls(**(record or {}))
