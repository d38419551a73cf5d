"""The budget: how far a subtask may go before it is given up."""

from dataclasses import dataclass

from stellwerk.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of one subtask.

    Args:
        attempts: how many attempts at most, over all tiers; None for one per tier of the ladder.
        seconds: that the calls of a subtask may take together, with what they wait at tiers; None for no
            limit. Time in which no tier is asked (a person is, or the run lies still) does not count.
        usd: that a subtask may cost; None for no limit. There is no further attempt where what was spent and
            what one is expected to cost are more, or where its tier has no price.

    Raises:
        ConfigurationError: if a limit is below one, or not above zero.
    """

    attempts: int | None = None
    seconds: float | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigurationError(f"attempts is {self.attempts}; a budget allows at least 1")
        for limit in ("seconds", "usd"):
            value = getattr(self, limit)
            if value is not None and not value > 0:
                raise ConfigurationError(
                    f"{limit} is {value}; a budget has to be above 0, or None for no limit"
                )

    def allows(self, attempts_made: int, tiers: int) -> bool:
        """Whether another attempt may be made."""
        return attempts_made < (self.attempts if self.attempts is not None else tiers)
