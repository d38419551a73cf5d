"""Whether something grows: what it is after the warm-up beside what it is at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.serving.samples import Sample

_WARM = 0.2  # share of the time
_PART = 0.2  # share of the time, at the beginning of what is left and at the end
_MOST = 1.05  # times as much
_FEW = 5  # of which more or fewer says nothing, as tasks come and go by chance


@dataclass(frozen=True)
class Growth:
    """Of one measure: medians of the fifth after the warm-up and of the last one, and the most."""

    name: str
    first: float
    last: float
    most: float

    @property
    def grows(self) -> bool:
        """Whether there is clearly more in the end."""
        return self.last > self.first * _MOST and self.last > self.first + _FEW


MEASURES = {
    "rss": "memory, MiB",
    "connections": "database connections",
    "files": "file handles",
    "threads": "threads",
    "tasks": "tasks of the event loop",
}


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Of all that may grow; nothing where there are too few samples to tell."""
    if len(samples) < 2 / _PART:
        return []
    warm, part = int(len(samples) * _WARM), max(1, int(len(samples) * _PART))
    found = []
    for name, title in MEASURES.items():
        values = [float(getattr(sample, name)) for sample in samples]
        first, last = median(values[warm : warm + part]), median(values[-part:])
        found.append(Growth(title, first, last, max(values)))
    return found
