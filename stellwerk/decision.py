"""The decision of a router: which tier runs the next attempt, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stellwerk.outcome import DecisionRecord

SERVE_NONE = -1
"""What a decision has as `serve` where no answer is believed enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Which tier to try next.

    Args:
        tier: the tier's name, or None to stop with what there is.
        router: name of the router that decided.
        version: the router's version, for offline evaluation.
        why: one sentence for a person.
        propensity: probability with which this router picks this tier here, in (0, 1].
        estimates: per tier, what the router expected (`right`, `accept`, `usd`, `seconds`).
        serve: to stop with an accepted answer that is not the last one, its place among the attempts, from 0;
            `SERVE_NONE` to stop with no answer, though the checks accepted one.
        shadow: what another router would have decided; it is stored, and not followed.
    """

    tier: str | None
    router: str
    version: str
    why: str
    propensity: float = 1.0
    estimates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    serve: int | None = None
    shadow: Decision | None = None

    def record(self) -> DecisionRecord:
        """The decision as JSON, for state and traces."""
        record: DecisionRecord = {
            "tier": self.tier,
            "router": self.router,
            "version": self.version,
            "propensity": self.propensity,
            "why": self.why,
            "estimates": {tier: dict(values) for tier, values in self.estimates.items()},
        }
        if self.serve is not None:
            record["serve"] = self.serve
        if self.shadow is not None:
            record["shadow"] = self.shadow.record()
        return record
