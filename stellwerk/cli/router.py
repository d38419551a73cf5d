"""`stellwerk router`: train a router on the traces, judge it, and let it serve, or not any more."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, plain
from stellwerk.cli.router_drift import drift
from stellwerk.cli.router_explain import explain
from stellwerk.cli.router_judging import compare, evaluate, promote
from stellwerk.cli.router_stores import Version, Who, Why, me, stores
from stellwerk.cli.router_train import train
from stellwerk.errors import InputError

if TYPE_CHECKING:
    from stellwerk.persistence.router_units import Move, StoredRouter

app = typer.Typer(help="Train a router on the traces, judge it, let it serve.", no_args_is_help=True)
for command in (train, evaluate, compare, promote, explain, drift):
    app.command()(command)


@app.command("list")
def list_routers(
    *,
    history: Annotated[
        bool, typer.Option("--history", help="What became of them, who did it and why, newest first.")
    ] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show the routers, newest first, and which of them serves."""
    with errors(), stores(database) as at:
        routers, moves = at.registry.list(), at.registry.history() if history else []
    if as_json:
        found = [_plain(move) for move in moves] if history else [_plain(router) for router in routers]
        typer.echo(json.dumps(found, indent=2, default=lambda moment: moment.isoformat()))
        return
    from rich.console import Console

    if moves:
        Console().print(_moves(moves))
    elif history:
        typer.echo("no router was put to use yet", err=True)
    elif routers:
        Console().print(_routers(routers))
    else:
        typer.echo("no routers yet; make one with: stellwerk router train", err=True)


@app.command("show")
def show(version: Version = None, *, as_json: AsJson = False, database: Database = None) -> None:
    """Show the card of a router."""
    with errors(), stores(database) as at:
        stored = at.router(version)
    if as_json:
        typer.echo(json.dumps(_plain(stored), indent=2, default=lambda moment: moment.isoformat()))
        return
    from rich.console import Console

    from stellwerk.cli.router_card import card_view

    console = Console()
    for part in card_view(stored):
        console.print(part)


@app.command("shadow")
def shadow(
    version: Version = None,
    *,
    why: Why = None,
    who: Who = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Let a router decide beside the one that serves; what it decides is stored, and not followed.

    Runs ask it where the settings have `shadow = true` under `router`.
    """
    with errors(), stores(database) as at:
        stored = at.router(version)
        move = at.registry.shadow(stored.version, who=me(who), why=why or "to see what it would decide")
    told(move, as_json=as_json)


@app.command("retire")
def retire(
    version: Annotated[str, typer.Argument(help="Of the router, or its beginning.", show_default=False)],
    *,
    why: Why = None,
    who: Who = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Take a router out of use; where it served, no other takes its place."""
    with errors(), stores(database) as at:
        stored = at.registry.find(version)
        move = at.registry.retire(stored.version, who=me(who), why=_required(why))
    told(move, as_json=as_json)


@app.command("rollback")
def rollback(*, why: Why = None, who: Who = None, as_json: AsJson = False, database: Database = None) -> None:
    """Go back to the router that served before, or to the smallest tier first if none did."""
    with errors(), stores(database) as at:
        move = at.registry.rollback(who=me(who), why=_required(why))
    told(move, as_json=as_json)


def told(move: Move, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        typer.echo(json.dumps(_plain(move), indent=2, default=lambda moment: moment.isoformat()))
        return
    version = move.version[:12] if move.version else None
    replaced = move.replaced[:12] if move.replaced else None
    match move.kind:
        case "promote":
            said = f"{version} serves" + (f" in place of {replaced}" if replaced else "")
        case "shadow":
            said = f"{version} decides in the shadow" + (f" in place of {replaced}" if replaced else "")
        case "rollback":
            said = f"{version or 'the smallest tier first'} serves again in place of {replaced}"
        case _:
            said = f"{replaced} is retired"
    typer.echo(f"{said}; runs that start from now on see it")


def _required(why: str | None) -> str:
    if why is None or not why.strip():
        raise InputError("say why, for the history: --why '...'")
    return why


def _plain(found: StoredRouter | Move) -> dict[str, Any]:
    return asdict(found)


def _routers(routers: list[StoredRouter]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from stellwerk.graphs.goals import goal_text

    styles = {"active": "green", "shadow": "cyan", "candidate": "", "retired": "dim"}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("router", "state", "made", "subtasks", "goal"):
        table.add_column(name, no_wrap=name != "goal", justify="right" if name == "subtasks" else "left")
    for router in routers:
        episodes = router.card.get("trained_on", {}).get("episodes")
        goal = router.card.get("goal")
        table.add_row(
            Text(plain(router.version[:12])),
            Text(router.state, style=styles[router.state]),
            f"{router.created_at.astimezone():%m-%d %H:%M}",
            "–" if episodes is None else f"{episodes:,}",
            "–" if goal is None else goal_text(goal),
        )
    return table


def _moves(moves: list[Move]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("when", "what", "router", "in place of", "who", "why"):
        table.add_column(name, no_wrap=name not in ("who", "why"))
    for move in moves:
        table.add_row(
            f"{move.moved_at.astimezone():%m-%d %H:%M}",
            move.kind,
            Text(plain((move.version or "–")[:12])),
            Text(plain((move.replaced or "–")[:12])),
            Text(plain(move.who)),
            Text(plain(move.why)),
        )
    return table
