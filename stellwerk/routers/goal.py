"""Goals: what a user sets, and the policy that meets it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from stellwerk.errors import ConfigurationError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.family import family
from stellwerk.routers.offline import ratio_interval
from stellwerk.routers.policy import CHEAPEST, Policy
from stellwerk.routers.proof import Proof
from stellwerk.routers.replay_table import PROVING, ReplayTable, replay_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the episodes say of a policy. Money is in USD, and time in seconds, a subtask.

    Args:
        met: whether the goal is met; of a quality floor, whether that is proven.
        why: one or two sentences for a person.
        episodes: how many were replayed.
        n: served answers with a label that counts.
        rightness: how right those are on average; NaN if there are none.
        bound: what that proves, at `confidence`.
        confidence: of the bound, from 0 to 1.
        coverage: share of the episodes in which an answer is served.
        usd: cost of the policy.
        seconds: time it takes, were its attempts the only ones.
        usd_largest: cost of everything on the largest tier.
        usd_unproven: cost of the cheapest policy that meets a floor on these episodes, proven or not.
        missing: about how many more labels prove the floor; None if it is proven, or no number does.
    """

    met: bool
    why: str
    episodes: int
    n: int
    rightness: float
    bound: float
    confidence: float
    coverage: float
    usd: float
    seconds: float
    usd_largest: float
    usd_unproven: float | None = None
    missing: int | None = None

    @property
    def price_of_proof(self) -> float:
        """What the bound costs: the policy's cost above that of one that meets the floor without proof."""
        return 0.0 if self.usd_unproven is None else self.usd - self.usd_unproven

    def record(self) -> dict[str, Any]:
        """As JSON, which has no NaN: a figure that is not known is None."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A policy for a goal.

    Args:
        policy: to be used.
        evidence: what it rests on.
        row: of the policy in the table of replays that it was picked from.
    """

    policy: Policy
    evidence: Evidence
    row: int


class Goal(Protocol):
    """Finds the policy for what a user set."""

    def solve(self, model: Believes, episodes: Sequence[Episode], policy: Policy = CHEAPEST) -> Solution:
        """The policy for the goal, on episodes that the model has not been trained on.

        Args:
            model: forms the beliefs.
            episodes: held out.
            policy: its price is found; the rest stays, as far as the goal does not set it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPrice:
    """A failure costs the user so much: each subtask gets what is worth it.

    Args:
        usd: that a wrong or missing answer costs.
        confidence: of the bound in the evidence.
        sources: of labels that count in the evidence.
    """

    usd: float
    confidence: float = 0.95
    sources: Collection[str] = PROVING

    def __post_init__(self) -> None:
        if not self.usd >= 0:
            raise ConfigurationError(f"a failure costs 0 USD or more, not {self.usd}")

    def solve(self, model: Believes, episodes: Sequence[Episode], policy: Policy = CHEAPEST) -> Solution:
        """The policy at that price. See `Goal`."""
        table = replay_table((policy.largest(), policy.at(self.usd)), model, episodes, sources=self.sources)
        why = f"a failure costs {dollars(self.usd)}"
        return Solution(
            policy=table.policies[1], row=1, evidence=evidence(table, 1, why, confidence=self.confidence)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBudget:
    """A subtask may cost so much on average: as many right answers as that buys.

    On logged episodes a policy counts as within the budget only if they tell what it costs, and the upper
    bound of that is within. Where that is so of none, the ladder is climbed from the smallest tier, as
    without a model.

    Args:
        usd: a subtask, on average.
        confidence: of the bound in the evidence.
        sources: of labels that count.
    """

    usd: float
    confidence: float = 0.95
    sources: Collection[str] = PROVING

    def __post_init__(self) -> None:
        if not self.usd > 0:
            raise ConfigurationError(f"a budget is above 0 USD a subtask, not {self.usd}")

    def solve(self, model: Believes, episodes: Sequence[Episode], policy: Policy = CHEAPEST) -> Solution:
        """Of the policies within the budget, the one with most right answers. See `Goal`."""
        tiers = range(len(model.tiers))
        # What needs no belief comes last: where beliefs are poor, a tier for all may be the best buy.
        policies = (
            *family(model, episodes, policy),
            *(replace(policy.at(0.0), start=place) for place in reversed(tiers)),
        )
        return self.pick(replay_table(policies, model, episodes, sources=self.sources))

    def pick(self, table: ReplayTable) -> Solution:
        """The same, from replays of a family of policies, the most careful first."""
        if table.weighted:
            return self._pick_logged(table)
        costs = [table.usd_of(row) for row in range(len(table.policies))]
        within = [row for row, usd in enumerate(costs) if usd <= self.usd]
        if within:
            row = max(within, key=lambda row: (_success(table, row), -costs[row]))
            why = f"of the policies within {dollars(self.usd)} a subtask this had most right answers"
        else:
            row = min(range(len(costs)), key=lambda row: (math.isnan(costs[row]), costs[row]))
            why = (
                f"no policy keeps within {dollars(self.usd)} a subtask; the cheapest costs"
                f" {dollars(costs[row])}"
            )
        found = evidence(table, row, why, confidence=self.confidence, met=bool(within))
        return Solution(policy=table.policies[row], evidence=found, row=row)

    def _pick_logged(self, table: ReplayTable) -> Solution:
        told = [row for row in range(len(table.policies)) if table.tells_of(row)]
        within = [row for row in told if self._most(table, row) <= self.usd]
        if within:
            row = max(within, key=lambda row: (_success(table, row), -table.usd_of(row)))
            why = f"of the policies that the log shows to keep within {dollars(self.usd)} a subtask, at"
            why += f" {self.confidence:.0%} confidence, this had most right answers"
        else:
            row = len(table.policies) - 1
            why = f"the log shows of no policy that it keeps within {dollars(self.usd)} a subtask, so the"
            why += " smallest tier goes first; log more, and explore more"
        found = evidence(table, row, why, confidence=self.confidence, met=bool(within))
        return Solution(policy=table.policies[row], evidence=found, row=row)

    def _most(self, table: ReplayTable, row: int) -> float:
        """What a policy costs at most; one-sided, hence twice the chance of error."""
        weights = table.weight[row]
        cost = ratio_interval(weights * table.usd[row], weights, table.group, 2 * self.confidence - 1)
        return math.inf if math.isnan(cost.high) else cost.high


def evidence(
    table: ReplayTable,
    row: int,
    why: str,
    *,
    confidence: float,
    met: bool = True,
    level: float | None = None,
    largest: int | None = None,
    usd_unproven: float | None = None,
    missing: int | None = None,
) -> Evidence:
    """What a table of replays, in which row 0 is the largest tier, says of one of its policies."""
    proof = Proof(table, row, largest, 1 - confidence if level is None else level)
    return Evidence(
        met=met,
        why=why,
        episodes=len(table),
        n=proof.answers,
        rightness=proof.rate,
        bound=proof.lower_bound(),
        confidence=confidence,
        coverage=table.coverage_of(row),
        usd=table.usd_of(row),
        seconds=table.seconds_of(row),
        usd_largest=table.usd_of(0),
        usd_unproven=usd_unproven,
        missing=missing,
    )


def dollars(usd: float) -> str:
    """An amount for a sentence."""
    return f"{usd:.4g} USD"


def _success(table: ReplayTable, row: int) -> float:
    """Share of episodes in which a right answer is served, of those that tell."""
    rightness = table.rightness_of(row)
    return 0.0 if math.isnan(rightness) else rightness * table.coverage_of(row)
