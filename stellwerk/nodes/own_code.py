"""What it means that a worker's own code raises: its prompt, its narrowing, its checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from langgraph.types import RetryPolicy

from stellwerk.errors import StellwerkError, TierError
from stellwerk.outcome import Reason, Verdict

_PASSING = cast("Callable[[Exception], bool]", RetryPolicy().retry_on)


def may_pass(error: Exception) -> bool:
    """Whether the same code may do better the next time: where LangGraph would run a node again."""
    if isinstance(error, TierError):
        return error.passing
    return not isinstance(error, StellwerkError) and (isinstance(error, TimeoutError) or _PASSING(error))


def own_failure(error: Exception, what: str = "") -> Verdict:
    """The verdict on an attempt in which the worker's own code raised; `what` is the name of that code."""
    detail = f"{what} raised {type(error).__name__}: {error}" if what else f"{type(error).__name__}: {error}"
    verdict = Verdict(accepted=False, reason=Reason.WORKER.value, detail=detail[:1000])
    if may_pass(error):
        verdict["passing"] = True
    return verdict
