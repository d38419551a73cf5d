"""How far a judging model agrees with people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stellwerk.routers.bounds import lower_bound, upper_bound


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a judge and people said of the same answers, each right or wrong.

    Args:
        both_right: answers that both call right.
        judge_right: answers that only the judge calls right.
        people_right: answers that only people call right.
        both_wrong: answers that both call wrong.
    """

    both_right: int = 0
    judge_right: int = 0
    people_right: int = 0
    both_wrong: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Agreement:
        """From pairs of what the judge and what people said."""
        counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        for pair in pairs:
            counts[pair] += 1
        return cls(*counts.values())

    @property
    def pairs(self) -> int:
        """Answers of which both said something."""
        return self.both_right + self.judge_right + self.people_right + self.both_wrong

    @property
    def agreed(self) -> int:
        """Answers of which both said the same."""
        return self.both_right + self.both_wrong

    @property
    def share(self) -> float | None:
        """The share of them; None without any."""
        return self.agreed / self.pairs if self.pairs else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Between which shares the true one lies, exactly (Clopper and Pearson 1934); 0 to 1 without any."""
        if not self.pairs:
            return 0.0, 1.0
        each = (1 + confidence) / 2
        return lower_bound(self.agreed, self.pairs, each), upper_bound(self.agreed, self.pairs, each)

    @property
    def kappa(self) -> float | None:
        """Agreement beyond chance, from -1 to 1 (Cohen 1960); None where chance alone explains all of it."""
        if not self.pairs:
            return None
        judge = (self.both_right + self.judge_right) / self.pairs
        people = (self.both_right + self.people_right) / self.pairs
        chance = judge * people + (1 - judge) * (1 - people)
        return None if chance >= 1 else (self.agreed / self.pairs - chance) / (1 - chance)
