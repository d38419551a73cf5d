"""The card of a router's model: what it was trained on, how good it is, and what it cannot do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from stellwerk.routers.episode import Episode
from stellwerk.routers.logistic import sigmoid
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.prior import Prior
from stellwerk.routers.scoring import auc, brier, calibration_error
from stellwerk.routers.structure import NAMES
from stellwerk.routers.targets import targets, trusts

if TYPE_CHECKING:
    from stellwerk.routers.model import RouterModel

_FEW = 50  # outcomes of a tier below which its figures are a guess


def card(
    model: RouterModel,
    trained: Sequence[Episode],
    measured: Sequence[Episode],
    priors: Sequence[Prior],
    *,
    held_out: bool,
    given: int,
    options: TrainingOptions,
    seed: int,
) -> dict[str, Any]:
    """The card, as plain JSON.

    Args:
        model: of which it speaks.
        trained: episodes that the model was fitted on.
        measured: those that the figures are of.
        priors: of each.
        held_out: whether those are held-out ones, or were predicted by models fitted on the others.
        given: how many episodes there were before any was left out.
        options: of the training.
        seed: of what was drawn.
    """
    times = [episode.at for episode in trained if episode.at > 0]
    trusted = trusts(measured, model.tiers, unlabelled=options.unlabelled, most=options.clip)
    aims = targets(measured, model.tiers, trusted, clip=options.clip)
    tiers: dict[str, Any] = {}
    limits: list[str] = []
    paid = any(outcome.usd for episode in trained for outcome in episode.outcomes)
    for column, tier in enumerate(model.tiers):
        outcomes = [outcome for episode in trained if (outcome := episode.outcome(tier)) is not None]
        sources = Counter("none" if o.label is None else o.label.source for o in outcomes)
        first = sum(episode.complete or episode.outcomes[0].tier == tier for episode in trained)
        tiers[tier] = {
            "outcomes": len(outcomes),
            "accepted": sum(outcome.accepted for outcome in outcomes),
            "labels": dict(sorted(sources.items())),
            "right": _measures(
                [prior.right[column] for prior in priors],
                aims.right[:, column],
                aims.right_weight[:, column],
            ),
            "accept": _measures(
                [prior.accept[column] for prior in priors],
                aims.accept[:, column],
                aims.accept_weight[:, column],
            ),
        }
        if not outcomes:
            chance = float(sigmoid(model.stack[column, :1])[0])
            limits.append(f"{tier}: no traces; every subtask is given the prior {chance:.2f}")
        elif len(outcomes) < _FEW:
            limits.append(f"{tier}: {len(outcomes)} traces only; its figures are little more than a guess")
        elif not first:
            limits.append(
                f"{tier}: only seen after another tier's attempt; its prior is that of hard subtasks"
            )
        if outcomes and paid and not any(outcome.usd for outcome in outcomes):
            limits.append(f"{tier}: no attempt has a cost, so it is taken to be free; give the tier a price")
        if outcomes and sources["none"] == len(outcomes):
            limits.append(f"{tier}: no labels; that an answer was accepted is all that is known of it")
    return {
        "trained_on": {
            "episodes": len(trained),
            "given": given,
            "groups": len({episode.group for episode in trained if episode.group}),
            "from": _date(min(times)) if times else None,
            "to": _date(max(times)) if times else None,
            "workers": dict(sorted(Counter(e.context["worker"] for e in trained).items())),
        },
        "measured_on": {"episodes": len(measured), "held_out": held_out},
        "tiers": tiers,
        "features": {
            "words": len(model.features.terms.words),
            "pieces": len(model.features.terms.pieces),
            "names": list(model.features.names),
            "structure": list(NAMES),
            "common": int(model.features.basis.shape[1]),
            "embedding": model.features.embedding,
            "landmarks": len(model.landmarks),
            "trees": len(model.forest.roots),
        },
        "options": asdict(options),
        "seed": seed,
        "limits": limits,
    }


def _measures(logits: Sequence[float], aims: Any, weights: Any) -> dict[str, float | int | None]:
    chances = sigmoid(np.asarray(logits, np.float64))
    known = weights > 0
    mean = float(weights @ aims / weights.sum()) if known.any() else None
    return {
        "cases": int(known.sum()),
        "mean": mean,
        "auc": auc(chances, aims, weights),
        "brier": brier(chances, aims, weights),
        "calibration_error": calibration_error(chances, aims, weights),
    }


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
