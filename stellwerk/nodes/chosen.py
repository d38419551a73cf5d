"""What the options of a run change: its tiers, its router, its limits, and who plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langgraph.runtime import get_runtime

from stellwerk.budget import Budget, RunBudget
from stellwerk.errors import ConfigurationError, InputError
from stellwerk.routers.guarded import guarded
from stellwerk.routers.router import Asked, Router, cascades
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.run_options import RunOptions
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier

_KNOWN = 128  # different options that are kept worked out


def given_options() -> RunOptions | None:
    """The options of the run that begins; None where it has none.

    Inside of another graph, the context is that graph's own.
    """
    context: object = get_runtime().context
    return context if isinstance(context, RunOptions) and context.record() else None


def options_of(state: Mapping[str, Any]) -> RunOptions | None:
    """The options that a run began with."""
    record = state.get("options")
    return RunOptions(**record) if record else None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a subtask may choose from.

    Args:
        ladder: tiers that it may use.
        decide: asks the router.
        cascades: whether the router is asked after accepted attempts too.
        budget: of the subtask.
    """

    ladder: Ladder
    decide: Asked
    cascades: bool
    budget: Budget


class Choices:
    """What subtasks may choose from: as the graph was built, or as the options of their run say."""

    def __init__(self, ladder: Ladder, router: Router, budget: Budget) -> None:
        self._built = Chosen(ladder, guarded(router), cascades(router), budget)
        self._router = router
        self._worked_out = lru_cache(_KNOWN)(self._work_out)

    def of(self, options: RunOptions | None) -> Chosen:
        """That of a run with these options."""
        return self._built if options is None else self._worked_out(options)

    def _work_out(self, options: RunOptions) -> Chosen:
        router, built = self._router, self._built
        if options.router == "smallest-first" and not isinstance(router, SmallestFirst):
            router = SmallestFirst()
        decide = built.decide if router is self._router else guarded(router)
        ladder = allowed(built.ladder, options)
        return Chosen(ladder, decide, cascades(router), built.budget.tightened(options.subtask_limits))


def allowed(ladder: Ladder, options: RunOptions | None) -> Ladder:
    """The tiers that a run may use.

    Raises:
        InputError: if the options name a tier that is not there, or leave none.
    """
    if options is None:
        return ladder
    try:
        return ladder.between(options.smallest_tier, options.largest_tier)
    except ConfigurationError as error:
        raise InputError(f"the options of the run: {error}") from None


def planning_tier(tier: Tier, ladder: Ladder, options: RunOptions | None) -> Tier:
    """The tier that plans or merges in a run: the largest that it may use, where that is a smaller one.

    A tier of its own, which is not on the ladder, stays.
    """
    if options is None or tier.name not in ladder.names:
        return tier
    largest = allowed(ladder, options).largest
    return min(tier, largest, key=lambda each: ladder.names.index(each.name))


def run_budget(budget: RunBudget, asked: Mapping[str, Any], options: RunOptions | None) -> RunBudget:
    """The budget of a run: the tightest of the orchestrator's, its input's, and that of its options.

    Raises:
        InputError: if the input asks for other limits than there are.
    """
    within = budget.within(asked)
    return within if options is None else within.within(options.run_limits)
