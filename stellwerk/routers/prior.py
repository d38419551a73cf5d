"""The prior: what a context alone lets expect of each tier."""

from __future__ import annotations

from dataclasses import dataclass

Figures = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """Per tier, before any attempt. Plain numbers, so that it can be stored beside a trace.

    Args:
        right: log odds that its answer is accepted and right.
        accept: log odds that the checks take it.
        tokens: expected in its answer.
        seconds: that its calls are expected to take.
        usd: that they are expected to cost.
    """

    right: Figures
    accept: Figures
    tokens: Figures
    seconds: Figures
    usd: Figures
