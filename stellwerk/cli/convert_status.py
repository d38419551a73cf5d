"""`stellwerk convert status`: what ran, and what each call site costs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, existing_database, plain
from stellwerk.cli.times import Since, Until

if TYPE_CHECKING:  # SQLAlchemy takes a while to import; `--help` does without
    from stellwerk.persistence.call_sites import CallSite
    from stellwerk.persistence.conversion_units import Conversion


def status(
    *,
    since: Since = None,
    until: Until = None,
    steps: Annotated[int, typer.Option("--steps", help="So many of the last steps.", min=0)] = 10,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show what was collected, what each call site costs, and which steps ran."""
    with errors():
        from stellwerk.persistence.call_sites import call_sites
        from stellwerk.persistence.conversions import ConversionStore
        from stellwerk.persistence.forget_units import to_retrain

        with ConversionStore.from_url(existing_database(database)) as store:
            sites = store.database.read(lambda c: call_sites(c, since, until))
            ran = store.conversions(limit=steps)
            made: dict[str, Any] = {
                "datasets": [asdict(each) for each in store.datasets()],
                "clusterings": [asdict(each) for each in store.clusterings()],
                "adapters": [asdict(each) for each in store.adapters()],
                "standings": [asdict(each) for each in store.standings().values()],
            }
            again = store.database.read(to_retrain)
    if as_json:
        told = {
            "call_sites": [asdict(site) for site in sites],
            "steps": [asdict(step) for step in ran],
            **made,
            "to_retrain": again,
        }
        typer.echo(json.dumps(told, indent=2, default=_plain))
        return
    from rich.console import Console

    console = Console()
    if sites:
        console.print(_sites(sites))
    else:
        typer.echo("no calls yet; import logs with: stellwerk convert collect", err=True)
    if ran:
        console.print(_steps(ran))
    for name in ("datasets", "clusterings", "adapters"):
        if made[name]:
            typer.echo(f"{len(made[name]):,} {name}")
    for standing in made["standings"]:
        share = "" if standing["share"] in (0, 1) else f" {standing['share']:.0%}"
        typer.echo(f"{plain(standing['cluster'])}: {standing['kind']}{share} {plain(standing['serves'])}")
    for adapter in again:
        typer.echo(f"to be trained again, as somebody was forgotten: {plain(adapter)}")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _sites(sites: list[CallSite]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in (
        "call site",
        "tier",
        "calls",
        "of all",
        "accepted",
        "tokens",
        "of all",
        "usd",
        "of all",
        "s a call",
    ):
        table.add_column(name, justify="left" if name in ("call site", "tier") else "right")
    calls = sum(site.calls for site in sites)
    tokens = sum(site.input + site.output for site in sites)
    usd = sum(site.usd for site in sites)
    for site in sites:
        own = site.input + site.output
        # What has no price is not free.
        paid = "?" if site.unpriced == site.calls else f"{site.usd:,.4f}" + ("+" if site.unpriced else "")
        table.add_row(
            Text(plain(site.call_site)),
            Text(plain(site.tier)),
            f"{site.calls:,}",
            f"{site.calls / calls:.0%}",
            f"{site.accepted / site.calls:.0%}",
            f"{own:,}",
            f"{own / tokens:.0%}" if tokens else "–",
            paid,
            f"{site.usd / usd:.0%}" if usd else "–",
            f"{site.seconds / site.calls:.2f}",
        )
    return table


def _steps(steps: list[Conversion]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table("when", "step", "state", "counts", box=SIMPLE_HEAD, pad_edge=False)
    for step in steps:
        counts = ", ".join(f"{number:,} {name}" for name, number in step.counts.items() if number)
        said = f"{step.error}; {counts}" if step.error else counts
        table.add_row(f"{step.started_at.astimezone():%m-%d %H:%M}", step.step, step.state, Text(plain(said)))
    return table
