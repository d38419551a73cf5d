"""Whether what a router of the registry learned still holds on the traces since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from stellwerk.errors import InputError
from stellwerk.graphs.learned import model_of
from stellwerk.persistence.router_units import StoredRouter
from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
from stellwerk.routers.drift import CalibrationDrift, calibration_drift
from stellwerk.routers.episode import Episode
from stellwerk.routers.mix_drift import MixDrift, mix_drift
from stellwerk.routers.model import RouterModel
from stellwerk.routers.replay_table import PROVING
from stellwerk.routers.traced import Traced, read_episodes
from stellwerk.trace import TraceReader


@dataclass(frozen=True, slots=True)
class Drift:
    """What came of both tests, on so many subtasks."""

    subtasks: int
    calibration: CalibrationDrift
    mix: MixDrift

    @property
    def alarm(self) -> bool:
        """Whether one of them raises the alarm."""
        return self.calibration.alarm or self.mix.alarm


def find_drift(
    traces: TraceReader,
    registry: SQLAlchemyRouterRegistry,
    stored: StoredRouter,
    *,
    false_alarms: float = 0.01,
    tolerance: float = 0.05,
) -> Drift:
    """Look for drift since a router was trained.

    Args:
        traces: to read from.
        registry: has the router.
        stored: the router.
        false_alarms: chance that a test raises an alarm without drift.
        tolerance: a shift of rightness up to this is no drift, from 0 to 1.

    Raises:
        InputError: if there are no traces since, or those that it was trained on are gone.
        ModelFileError: if its file cannot be used.
        DatabaseError: if the database fails.
    """
    model = model_of(registry, stored)
    lately = fresh(traces, [stored]).episodes
    before = _before(traces, stored)
    return Drift(
        len(lately),
        _calibration(model, lately, false_alarms, tolerance),
        _mix(before, lately, false_alarms),
    )


def fresh(traces: TraceReader, routers: Sequence[StoredRouter]) -> Traced:
    """Episodes that began after the last one that any of the routers was trained on.

    Those on tiers that none of the routers knows are left out.

    Raises:
        InputError: if there are none, or some are on tiers that only one of the routers knows.
    """
    since = max(float(router.card.get("fresh_from") or 0.0) for router in routers)
    moment = datetime.fromtimestamp(since, UTC)
    traced = read_episodes(traces, since=moment)
    kept = tuple(episode for episode in traced.episodes if episode.at >= since)
    if not kept:
        raise InputError(
            f"there are no traces since {moment:%Y-%m-%d %H:%M} UTC, when the router's training ends; "
            "run some tasks, or train with --holdback 0.2 to keep the newest traces for this"
        )
    for router in routers:
        known = list(router.card.get("tiers", {}))
        tried = {outcome.tier for episode in kept for outcome in episode.outcomes}
        if strange := sorted(tried - set(known)):
            raise InputError(
                f"the router {router.version[:12]} knows {', '.join(known)}, and subtasks were tried on "
                f"{', '.join(strange)} as well, so that they do not compare; train one for all tiers"
            )
    return replace(traced, episodes=kept)


def _before(traces: TraceReader, stored: StoredRouter) -> Sequence[Episode]:
    """The subtasks of the time in which it was trained.

    Raises:
        InputError: if their traces are gone.
    """
    until = float(stored.card.get("fresh_from") or 0.0)
    found = read_episodes(traces, until=datetime.fromtimestamp(until, UTC)).episodes
    if not found:
        raise InputError(
            f"the traces that router {stored.version[:12]} was trained on are gone, so that nothing can be "
            "compared with them; train a new one"
        )
    return found


def _calibration(
    model: RouterModel, episodes: Sequence[Episode], false_alarms: float, tolerance: float
) -> CalibrationDrift:
    """Beliefs in the answers that were served, against their labels."""
    believed, right, groups = [], [], []
    for episode in episodes:
        outcomes = [outcome for outcome in episode.outcomes if outcome.tier in model.tiers]
        accepted = [place for place, outcome in enumerate(outcomes) if outcome.accepted]
        label = outcomes[accepted[-1]].label if accepted else None
        if label is None or label.source not in PROVING:
            continue
        belief = model.belief(model.prior(episode.context), outcomes)
        believed.append(float(belief.answers[accepted[-1]]))
        right.append(label.right)
        groups.append(episode.group)
    return calibration_drift(believed, right, groups=groups, false_alarms=false_alarms, tolerance=tolerance)


def _mix(before: Sequence[Episode], now: Sequence[Episode], false_alarms: float) -> MixDrift:
    """Workers, lengths and places in plans, then and now."""

    def features(episodes: Sequence[Episode]) -> dict[str, list[str] | list[float]]:
        contexts = [episode.context for episode in episodes]
        return {
            "worker": [context["worker"] for context in contexts],
            "instruction length": [float(len(context["instruction"])) for context in contexts],
            "source length": [float(context["source"]) for context in contexts],
            "inputs": [float(context["inputs"]) for context in contexts],
            "plan size": [float(context["size"]) for context in contexts],
        }

    return mix_drift(
        features(before),
        features(now),
        groups_before=[episode.group for episode in before],
        groups_now=[episode.group for episode in now],
        false_alarms=false_alarms,
    )
