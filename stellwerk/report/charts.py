"""Bars and curves, as figures for SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar: from where on, how wide, both of 100, and which share that is."""

    name: str
    number: int
    share: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: where, of 100, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From a value to another, with marks."""

    low: float
    high: float
    ticks: list[Tick]

    def place(self, value: float) -> float:
        """Where a value stands, of 100."""
        span = self.high - self.low
        return round(100 * (value - self.low) / span, 2) if span else 50.0


def parts(counts: Mapping[str, int], order: Sequence[str]) -> list[Part]:
    """A bar of counts, in this order; names that the order does not know come last."""
    rank = {name: place for place, name in enumerate(order)}
    total, at = sum(counts.values()), 0.0
    made: list[Part] = []
    for name in sorted(counts, key=lambda name: (rank.get(name, len(rank)), name)):
        if counts[name]:
            share = counts[name] / total
            made.append(Part(name, counts[name], share, round(at, 2), round(100 * share, 2)))
            at += 100 * share
    return made


def axis(values: Sequence[float], *, percent: bool = False, marks: int = 4) -> Axis:
    """An axis that holds the values, from and to round figures."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low < 1e-12:
        low, high = (low - abs(low) * 0.1, high + abs(high) * 0.1) if high else (0.0, 1.0)
    step = _round_step((high - low) / marks)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if percent:
        low, high = max(0.0, low), min(1.0, high)
    count = round((high - low) / step)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = []
    for number in range(count + 1):
        value = low + number * step
        label = f"{100 * value:.{max(0, digits - 2)}f} %" if percent else f"{value:,.{digits}f}"
        ticks.append(Tick(round(100 * number / count, 2) if count else 0.0, label))
    return Axis(low, high, ticks)


def _round_step(step: float) -> float:
    scale = 10 ** math.floor(math.log10(step))
    return float(next(factor for factor in (1, 2, 2.5, 5, 10) if factor * scale >= step * (1 - 1e-9)) * scale)
