"""The budget: how far a subtask may go before it is given up."""

from dataclasses import dataclass

from stellwerk.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of one subtask.

    Args:
        attempts: how many attempts at most, over all tiers; None for one per tier of the ladder.

    Raises:
        ConfigurationError: if a limit is below one.
    """

    attempts: int | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigurationError(f"attempts is {self.attempts}; a budget allows at least 1")

    def allows(self, attempts_made: int, tiers: int) -> bool:
        """Whether another attempt may be made."""
        return attempts_made < (self.attempts if self.attempts is not None else tiers)
