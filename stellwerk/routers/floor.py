"""The quality floor: what is served is right at least so often, and that is proven.

Learn-then-Test (Angelopoulos et al. 2021, arXiv 2110.01052) with fixed-sequence testing: policies are tested
in an order that is set before any outcome is seen, from the largest tier alone to the cheapest way, until the
first of which the floor is not proven. All before it hold together, so the cheapest of them may be picked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stellwerk.errors import ConfigurationError, FloorError
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.family import abstaining, family
from stellwerk.routers.goal import Solution, dollars, evidence
from stellwerk.routers.policy import CHEAPEST, Policy
from stellwerk.routers.proof import Proof
from stellwerk.routers.replay_table import PROVING, ReplayTable, replay_table


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFloor:
    """What is served is right at least so often, with that confidence.

    The promise is about new episodes like those that it is proven on: these must be drawn as the new ones
    are, and be none that the model was trained on, or that a policy was picked on before. It holds however
    wrong the model's beliefs are; those decide what it costs. With groups, it is about the average over
    groups.

    Where a policy may not abstain, an answer is missing only if no tier that it tries has one accepted; a
    relative floor counts that as wrong. Where it may, the share served is seen on the episodes, not promised.

    Args:
        floor: from 0 to 1, exclusive; a share of right answers, or where `relative`, that share of the
            largest tier's.
        confidence: chance that the promise holds, between 0 and 1.
        relative: whether the floor is a share of what the largest tier reaches on the same subtasks.
        coverage: least share of subtasks with a served answer; below 1 the policy may abstain.
        beyond: begin with the most careful mix of tiers in place of the largest alone. A mix may be right
            more often, as answers of two tiers that agree are; where it is not, nothing is proven.
        sources: of labels that count. A label's weight below 1 counts against the answer: it is the chance
            that an answer which it calls right is right.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    floor: float = 0.95
    confidence: float = 0.95
    relative: bool = False
    coverage: float = 1.0
    beyond: bool = False
    sources: Collection[str] = PROVING

    def __post_init__(self) -> None:
        for name in ("floor", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigurationError(
                    f"{name} of a quality floor is {getattr(self, name)}; it is between 0 and 1, exclusive,"
                    " since nothing proves perfection"
                )
        if not 0 < self.coverage <= 1:
            raise ConfigurationError(
                f"coverage of a quality floor is {self.coverage}; it is above 0 and at most 1, as who never"
                " answers is never wrong"
            )

    def solve(self, model: Believes, episodes: Sequence[Episode], policy: Policy = CHEAPEST) -> Solution:
        """The cheapest policy of which the floor is proven; see `pick`, and `Goal`.

        Raises:
            FloorError: the largest tier is known to be below the floor.
            InputError: there are no episodes, or the tiers cost nothing.
        """
        policies = self.policies(model, episodes, policy)
        return self.pick(replay_table(policies, model, episodes, sources=self.sources))

    def policies(
        self, model: Believes, episodes: Sequence[Episode], policy: Policy = CHEAPEST
    ) -> list[Policy]:
        """All that are tested, in order. They depend on no outcome of an episode."""
        chains = abstaining(family(model, episodes, policy), self._thresholds())
        return [policy for chain in chains for policy in chain]

    def pick(self, table: ReplayTable) -> Solution:
        """The cheapest policy of which the floor is proven, from replays of `policies`.

        Where it is proven of none, everything goes to the largest tier and the evidence says how many labels
        are missing.

        Raises:
            FloorError: the largest tier is known to be below the floor, and abstaining does not help.
        """
        chains = self._chains(table)
        level = (1 - self.confidence) / len(chains)
        proven: list[int] = []
        for chain in chains:
            for row in chain:
                # A policy that does just what the one before does has its p-value.
                if Proof(table, row, self._largest(), level).p_value(self.floor) > level:
                    break
                proven.append(row)
        served = [row for row in proven if self._covers(table, row)]
        if served:
            row = min(served, key=lambda row: (table.usd_of(row), row))
        elif proven:
            row = max(proven, key=lambda row: (table.coverage_of(row), -row))
        else:
            row = 0
            self._refuse(table, chains, level)
        unproven = self._unproven(table)
        found = evidence(
            table,
            row,
            self._why(table, row, proven=bool(proven), covered=bool(served), level=level),
            confidence=self.confidence,
            met=bool(served),
            level=level,
            largest=self._largest(),
            usd_unproven=unproven,
            missing=None if proven else Proof(table, 0, self._largest(), level).missing(self.floor),
        )
        return Solution(policy=table.policies[row], evidence=found, row=row)

    def _thresholds(self) -> list[float]:
        """Below which answers are not served: 0 first, then such as shift the floor's odds by powers of e."""
        if self.coverage == 1.0:
            return [0.0]
        odds = math.log(self.floor / (1 - self.floor))
        return [0.0, *(1 / (1 + math.exp(shift - odds)) for shift in (1.0, 0.0, -1.0))]

    def _chains(self, table: ReplayTable) -> list[list[int]]:
        chains: dict[float, list[int]] = {}
        for row, policy in enumerate(table.policies):
            chains.setdefault(policy.serve, []).append(row)
        return [chain[1:] if self.beyond else chain for chain in chains.values()]

    def _largest(self) -> int | None:
        return 0 if self.relative else None

    def _covers(self, table: ReplayTable, row: int) -> bool:
        return self.coverage == 1.0 or table.coverage_of(row) >= self.coverage

    def _unproven(self, table: ReplayTable) -> float | None:
        """Cost of the cheapest policy that reaches the floor on these episodes."""
        reaching = [
            table.usd_of(row)
            for row in range(len(table.policies))
            if Proof(table, row, self._largest()).rate >= self.floor and self._covers(table, row)
        ]
        return min(reaching, default=None)

    def _refuse(self, table: ReplayTable, chains: Sequence[Sequence[int]], level: float) -> None:
        if self.relative or table.weighted:
            return
        rows = chains[0][:1] if len(chains) == 1 else [row for chain in chains for row in chain]
        proofs = [Proof(table, row, None, level) for row in rows if self._covers(table, row)]
        if not proofs or not all(proof.below(self.floor) for proof in proofs):
            return
        best = max(proofs, key=lambda proof: proof.rate)
        who = "the largest tier" if best.row == 0 else f"the best policy with {self.coverage:.0%} served"
        raise FloorError(
            f"a floor of {self.floor:.3g} is above what there is to be had: {who} was right in"
            f" {best.rate:.3f} of {best.answers} answers, and at {self.confidence:.0%} confidence in no more"
            f" than {best.upper_bound():.3f}; set a lower floor, add a larger tier, or allow less coverage"
        )

    def _why(self, table: ReplayTable, row: int, *, proven: bool, covered: bool, level: float) -> str:
        proof = Proof(table, row, self._largest(), level)
        share = " of what the largest tier reaches" if self.relative else ""
        floor = f"{self.floor:.3g}{share}"
        if not proof.answers:
            missing = proof.missing(self.floor)
            many = "" if missing is None else f"; {floor} takes {missing} labels if all are right"
            return (
                "no labelled answer shows how often the largest tier is right, so nothing is"
                f" proven and everything goes to the largest tier{many}"
            )
        seen = (
            f"{proof.answers} labelled answers were right at a rate of {proof.rate:.3f}{share}, which proves"
            f" {proof.lower_bound():.3f} at {self.confidence:.0%} confidence"
        )
        if covered:
            return f"{seen}; the floor is {floor}, at {dollars(table.usd_of(row))} a subtask"
        if proven:
            return (
                f"{seen}, but only {table.coverage_of(row):.1%} of the subtasks are served; the coverage"
                f" asked for is {self.coverage:.0%}"
            )
        missing = proof.missing(self.floor)
        if missing is None:
            return (
                f"the largest tier's {seen}; at that rate no number of labels proves {floor}, so everything"
                " goes to the largest tier"
            )
        return (
            f"the largest tier's {seen}; {floor} takes about {missing} more labels at that rate, and until"
            " then everything goes to the largest tier"
        )
