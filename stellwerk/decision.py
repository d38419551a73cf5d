"""The decision of a router: which tier runs the next attempt, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stellwerk.outcome import DecisionRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Which tier to try next.

    Args:
        tier: the tier's name, or None to stop with what there is.
        router: name of the router that decided.
        version: the router's version, for offline evaluation.
        why: one sentence for a person.
        propensity: probability with which this router picks this tier here, in (0, 1].
        estimates: per tier, what the router expected (`accept`, `usd`, `seconds`).
    """

    tier: str | None
    router: str
    version: str
    why: str
    propensity: float = 1.0
    estimates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def record(self) -> DecisionRecord:
        """The decision as JSON, for state and traces."""
        return {
            "tier": self.tier,
            "router": self.router,
            "version": self.version,
            "propensity": self.propensity,
            "why": self.why,
            "estimates": {tier: dict(values) for tier, values in self.estimates.items()},
        }
