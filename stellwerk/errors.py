"""What can go wrong, as one tree.

    StellwerkError
    ├── ConfigurationError      a setting, a tier or a worker is declared wrongly
    │   └── MissingExtraError   an optional dependency is not installed
    ├── InputError              what the caller passed cannot be used
    │   ├── DocumentError       a document is missing, is not text, or does not fit
    │   ├── FloorError          a quality floor is above what any tier reaches
    │   └── PlanError           a plan is no DAG over known workers
    ├── ModelFileError          a model file is absent, damaged or cannot be fetched
    ├── TierError               a tier could not answer
    │   ├── BudgetError           the budget does not allow the call
    │   ├── TierAccessError       its server refuses the key, or lets it do nothing
    │   ├── ContextOverflowError  the prompt is larger than the tier's context window
    │   ├── TierTimeoutError      no answer came in the time allowed
    │   └── TierUnavailableError  the tier had no place for the call, or none of its servers is up
    ├── OutcomeUnknownError     a tool cannot tell whether it did what it was asked to
    ├── ExpressionError         an arithmetic expression is refused or has no value
    ├── RunCancelledError       somebody asked for the run to be cancelled
    └── DatabaseError           the database cannot be reached, or what it holds cannot be used
        ├── UntrustedDataError  a stored value is of a type that is not allowed, or is not encrypted
        └── LeaseError          another process runs this thread, or has taken it over

Every message names the thing at fault, the value found, and what to do about it.
"""


class StellwerkError(Exception):
    """Base of every error that Stellwerk raises on purpose."""


class ConfigurationError(StellwerkError):
    """A setting, a tier or a worker is declared wrongly."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'stellwerk[{extra}]'")


class InputError(StellwerkError):
    """What the caller passed cannot be used."""


class DocumentError(InputError):
    """A document is missing, is not text, or is larger than any tier can read."""


class FloorError(InputError):
    """A quality floor is above what the largest tier is known to reach."""


class PlanError(InputError):
    """A plan is not a directed acyclic graph of subtasks over known workers."""


class ModelFileError(StellwerkError):
    """A model file is absent, damaged, or cannot be fetched."""


class TierError(StellwerkError):
    """A tier could not answer: unreachable, refused, or broken off.

    `tries` are the tries that failed, and `waited` is how long the call waited, in seconds. `passing` is
    whether it may pass by itself, so that the same call may be answered later.
    """

    tries: tuple[object, ...] = ()
    waited: float = 0.0
    passing: bool = False


class BudgetError(TierError):
    """What a run or a subtask may spend does not allow the call, so no tier was asked.

    `limit` is the one: `seconds`, `usd`, `tokens` or `calls`.
    """

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class TierAccessError(TierError):
    """A tier's server refuses the key, or what the key may do does not include the call."""


class ContextOverflowError(TierError):
    """The prompt is larger than the tier's context window."""


class TierTimeoutError(TierError):
    """No answer came in the time allowed."""

    passing = True


class TierUnavailableError(TierError):
    """The tier had no place for the call in time, or none of its servers is up; later it may have one."""

    passing = True


class OutcomeUnknownError(StellwerkError):
    """A tool cannot tell whether it did what it was asked to; for tools with side effects to raise."""


class ExpressionError(StellwerkError):
    """An arithmetic expression is refused or has no finite value."""


class RunCancelledError(StellwerkError):
    """Somebody asked for the run to be cancelled; its thread can be resumed."""


class DatabaseError(StellwerkError):
    """The database cannot be reached, or what it holds cannot be used."""


class UntrustedDataError(DatabaseError):
    """A stored value is of a type that nobody allowed, or is not encrypted as it should be."""


class LeaseError(DatabaseError):
    """Another process runs this thread, or took it over from this one, whose writes are refused."""
