"""`stellwerk router train`: a router from the traces, its card, and what the goal comes to with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors
from stellwerk.cli.router_stores import (
    Confidence,
    QualityFloor,
    UsdPerFailure,
    UsdPerSubtask,
    finite,
    goal,
    stores,
)
from stellwerk.cli.status import status
from stellwerk.cli.times import Since, Until
from stellwerk.errors import InputError

if TYPE_CHECKING:
    from stellwerk.persistence.router_units import StoredRouter
    from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
    from stellwerk.routers.episode import Episode
    from stellwerk.routers.goal import Goal
    from stellwerk.routers.model import RouterModel


def train(
    *,
    tiers: Annotated[
        list[str] | None,
        typer.Option("--tier", help="To learn of, cheapest first; those of the settings if not given."),
    ] = None,
    since: Since = None,
    until: Until = None,
    holdback: Annotated[
        float,
        typer.Option("--holdback", help="Share of the traces, the newest, kept to judge the router by."),
    ] = 0.2,
    quality_floor: QualityFloor = None,
    confidence: Confidence = None,
    usd_per_failure: UsdPerFailure = None,
    usd_per_subtask: UsdPerSubtask = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn by lot.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", help="Also write it to this file.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Train a router on the traces, and keep it as a candidate."""
    with errors(), stores(database) as at:
        from stellwerk.graphs.goals import goal_record
        from stellwerk.routers.model_file import model_bytes, save_model
        from stellwerk.routers.traced import read_episodes
        from stellwerk.routers.training import train as train_model

        chosen = goal(
            at.settings.router,
            quality_floor=quality_floor,
            confidence=confidence,
            usd_per_failure=usd_per_failure,
            usd_per_subtask=usd_per_subtask,
        )
        names = tiers or list(at.tiers)
        with status("reading the traces"):
            traced = read_episodes(at.traces, since=since, until=until)
        learnt, fresh_from = _cut(traced.episodes, holdback)
        with status(f"training on {len(learnt):,} episodes"):
            model = train_model(learnt, names, seed=seed)
        card = {
            **model.card,
            "traces": traced.record(),
            "held_back": len(traced.episodes) - len(learnt),
            "fresh_from": fresh_from,
            "goal": goal_record(chosen),
        }
        stored = at.registry.add(model.digest, model_bytes(model), finite(card))
        with status(f"setting the policy on {len(model.calibration):,} held-out episodes"):
            stored = _solved(at.registry, stored, model, chosen)
        if output is not None:
            save_model(model, output)
    if as_json:
        told = {"version": stored.version, "state": stored.state, "size": stored.size, "card": stored.card}
        typer.echo(json.dumps(told, indent=2))
        return
    from rich.console import Console

    from stellwerk.cli.router_card import card_view

    console = Console()
    for part in card_view(stored):
        console.print(part)
    version = stored.version[:12]
    typer.echo(f"kept as a candidate; how it would have done: stellwerk router evaluate {version}")


def _cut(episodes: Sequence[Episode], share: float) -> tuple[Sequence[Episode], float]:
    """All but the newest episodes, and when the first of those began, or after the last if none are."""
    if not 0 <= share < 1:
        raise InputError(f"--holdback is {share}; give a share of the traces from 0, below 1")
    if not episodes:
        raise InputError(
            "there are no traces to learn from: run some tasks; those of older versions do not count"
        )
    kept = len(episodes) - int(len(episodes) * share)
    if kept == len(episodes):
        return episodes, max(datetime.now(UTC).timestamp(), episodes[-1].at)
    start = episodes[kept].at
    return [episode for episode in episodes[:kept] if episode.at < start], start


def _solved(
    registry: SQLAlchemyRouterRegistry, stored: StoredRouter, model: RouterModel, goal: Goal
) -> StoredRouter:
    """With what the goal comes to on the held-out episodes in its card, or why it cannot be had."""
    from stellwerk.graphs.goals import goal_record
    from stellwerk.graphs.learned import solved

    found: dict[str, Any] = {"goal": goal_record(goal), "policy": None, "evidence": None, "refused": None}
    try:
        policy, found["evidence"] = solved(registry, stored, model, goal)
        found["policy"] = policy.record()
    except InputError as error:  # among them `FloorError`
        found["refused"] = str(error)
    registry.describe(stored.version, {**registry.find(stored.version).card, **found})
    return registry.find(stored.version)
