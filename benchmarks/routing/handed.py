"""Who was handed which rows: the record by which a run shows that it never chose anything on its test
rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from benchmarks.routing.corpus import Episodes
from benchmarks.routing.splits import Split, Unit

Stage = Literal["train", "threshold", "test"]


class LeakError(AssertionError):
    """Rows that something was learned from, or a threshold set on, are among those it is judged on."""


@dataclass
class Handed:
    """Hands out the sides of one split, and keeps the units that each stage has seen.

    Args:
        split: whose sides are handed out.
        unit: what must not stand on two sides.
    """

    split: Split
    unit: Unit
    seen: dict[Stage, set[str]] = field(default_factory=dict)

    def rows(self, stage: Stage) -> Episodes:
        """The rows of a stage, which are put on record.

        Raises:
            LeakError: another stage has seen one of their units.
        """
        sides = {"train": self.split.train, "threshold": self.split.validation, "test": self.split.test}
        units = {self.unit(episode) for episode in sides[stage]} | {episode.id for episode in sides[stage]}
        for other, known in self.seen.items():
            if other != stage and (both := units & known):
                raise LeakError(f"{stage} and {other} share {len(both)} units, one of them {min(both)!r}")
        self.seen[stage] = units
        return sides[stage]
