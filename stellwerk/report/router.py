"""The router of the registry: what it costs against how right it is, its calibration, and drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stellwerk.errors import StellwerkError
from stellwerk.persistence.router_units import StoredRouter
from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
from stellwerk.persistence.traces import TraceStore

if TYPE_CHECKING:  # numpy is not needed where there is no router
    from stellwerk.routers.model import RouterModel

_DIALS = 24  # points of the curve, about
_BINS = 8  # of a tier's calibration
_FEWEST = 20  # cases of a tier for which it is drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A policy on the episodes held out: USD for 1,000 subtasks, and the share that gets a right answer."""

    usd: float
    right: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Subtasks of which a tier was believed to be so often right: how often it was."""

    believed: float
    right: float
    cases: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TierFigures:
    """How good the estimates for one tier are, on the subtasks held out; see docs/routing.md."""

    tier: str
    outcomes: int
    labels: int
    right: float | None
    auc: float | None
    brier: float | None
    calibration_error: float | None
    bins: list[Bin]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """What a test for drift says: of `answers` or `subtasks`."""

    of: str
    alarm: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterView:
    """A router.

    Args:
        version: digest of its content.
        state: `active` serves; a `candidate` does not yet.
        created_at: when it was trained.
        goal: in words; None where its card says none.
        met: whether the goal is met; None where that was not told.
        why: in words.
        tiers: cheapest first.
        curve: from cheap to careful; empty where the held-out subtasks do not tell.
        largest: everything on the largest tier.
        smallest: the smallest tier first, and the next one where an answer is rejected.
        limits: what it cannot do.
        drift: what the tests say; empty where they cannot be made.
        problems: why something of this is missing.
    """

    version: str
    state: str
    created_at: datetime
    goal: str | None
    met: bool | None
    why: str | None
    tiers: list[TierFigures]
    curve: list[Point]
    largest: Point | None
    smallest: Point | None
    limits: list[str]
    drift: list[Alarm]
    problems: list[str]

    @property
    def alarms(self) -> list[Alarm]:
        """Those that went off."""
        return [one for one in self.drift if one.alarm]


def router_view(traces: TraceStore) -> RouterView | None:
    """The router that serves, else the newest; None where there is none.

    The curve takes a second or so for a few hundred subtasks held out, drift reads all traces since.

    Raises:
        DatabaseError: if the database fails.
    """
    registry = SQLAlchemyRouterRegistry(traces.database)
    stored = registry.in_state("active") or next(iter(registry.list()), None)
    return None if stored is None else _view(traces, registry, stored)


def _view(traces: TraceStore, registry: SQLAlchemyRouterRegistry, stored: StoredRouter) -> RouterView:
    from stellwerk.graphs.goals import goal_text

    card, problems = stored.card, list[str]()
    curve: list[Point] = []
    largest = smallest = None
    bins: Mapping[str, list[Bin]] = {}
    drift: list[Alarm] = []
    try:
        from stellwerk.graphs.drift import find_drift
        from stellwerk.graphs.learned import model_of

        model = model_of(registry, stored)
        bins = _bins(model)
        curve, largest, smallest = _curve(model)
        if not curve:
            problems.append(
                "cost against quality: the subtasks held out do not tell what other settings come to; "
                "more traces, labels and exploration are needed"
            )
    except ImportError as error:
        problems.append(f"{error.name} is not installed; run: pip install 'stellwerk[router]'")
    except StellwerkError as error:
        problems.append(str(error))
    else:
        try:
            found = find_drift(traces, registry, stored)
        except StellwerkError as error:
            problems.append(f"drift: {error}")
        else:
            drift = [
                Alarm(of="answers", alarm=found.calibration.alarm, why=found.calibration.why),
                Alarm(of="subtasks", alarm=found.mix.alarm, why=found.mix.why),
            ]
    evidence = card.get("evidence") or {}
    return RouterView(
        version=stored.version,
        state=stored.state,
        created_at=stored.created_at,
        goal=goal_text(card["goal"]) if card.get("goal") else None,
        met=evidence.get("met"),
        why=evidence.get("why") or card.get("refused"),
        tiers=[_figures(tier, told, bins.get(tier, [])) for tier, told in card.get("tiers", {}).items()],
        curve=curve,
        largest=largest,
        smallest=smallest,
        limits=list(card.get("limits", ())),
        drift=drift,
        problems=problems,
    )


def _figures(tier: str, told: Mapping[str, Any], bins: list[Bin]) -> TierFigures:
    right = told["right"]
    return TierFigures(
        tier=tier,
        outcomes=told["outcomes"],
        labels=sum(number for source, number in told["labels"].items() if source not in ("none", "check")),
        right=right["mean"],
        auc=right["auc"],
        brier=right["brier"],
        calibration_error=right["calibration_error"],
        bins=bins,
    )


def _curve(model: RouterModel) -> tuple[list[Point], Point | None, Point | None]:
    """Policies from cheap to careful, replayed on the subtasks held out."""
    from stellwerk.routers.family import family
    from stellwerk.routers.policy import CHEAPEST
    from stellwerk.routers.replay_table import replay_table

    dials = family(model, model.calibration, CHEAPEST, dials=_DIALS)
    table = replay_table((*dials, replace(CHEAPEST.at(0.0), start=0)), model, model.calibration)

    def point(row: int) -> Point | None:
        usd, right = table.usd_of(row), table.rightness_of(row) * table.coverage_of(row)
        known = table.tells_of(row) and math.isfinite(usd) and math.isfinite(right)
        return Point(usd=1000 * usd, right=min(1.0, right)) if known else None

    points = [point(row) for row in range(1, len(dials))]
    curve = sorted({one for one in points if one is not None}, key=lambda one: (one.usd, one.right))
    return curve, point(0), point(len(dials))


def _bins(model: RouterModel) -> dict[str, list[Bin]]:
    """What was believed of the subtasks held out, in order and in parts of equal size, and what came true."""
    import numpy as np

    from stellwerk.routers.logistic import sigmoid
    from stellwerk.routers.options import TrainingOptions
    from stellwerk.routers.targets import targets, trusts

    if not model.calibration or len(model.held) != len(model.calibration):
        return {}
    options = TrainingOptions()
    trusted = trusts(model.calibration, model.tiers, unlabelled=options.unlabelled, most=options.clip)
    aims = targets(model.calibration, model.tiers, trusted, clip=options.clip)
    found: dict[str, list[Bin]] = {}
    for column, tier in enumerate(model.tiers):
        believed = sigmoid(np.asarray([prior.right[column] for prior in model.held], np.float64))
        right, weight = aims.right[:, column], aims.right_weight[:, column]
        known = np.flatnonzero(weight > 0)
        if len(known) < _FEWEST:
            continue
        ordered = known[np.argsort(believed[known], kind="stable")]
        found[tier] = [
            Bin(
                believed=float(np.average(believed[part], weights=weight[part])),
                right=float(np.average(right[part], weights=weight[part])),
                cases=len(part),
            )
            for part in np.array_split(ordered, min(_BINS, len(ordered) // 5))
        ]
    return found
