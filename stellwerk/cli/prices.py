"""`stellwerk prices`: the built-in price list."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from stellwerk.cli.database import AsJson
from stellwerk.prices import AS_OF, PRICES, age_notice

app = typer.Typer(help="Show the built-in prices of hosted models.", no_args_is_help=True)


@app.command("list")
def list_prices(
    provider: Annotated[
        str | None, typer.Argument(help="Only the models of this provider.", show_default=False)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what hosted models cost, in USD per million tokens, and the page that says so."""
    providers = list(dict.fromkeys(price.provider for price in PRICES))
    if provider is not None and provider not in providers:
        typer.echo(
            f"stellwerk: no provider is called {provider}; choose from: {', '.join(providers)}", err=True
        )
        raise typer.Exit(2)
    chosen = [price for price in PRICES if provider in (None, price.provider)]
    notice = age_notice()
    if as_json:
        rows = [{"name": price.name, **asdict(price)} for price in chosen]
        typer.echo(json.dumps({"as_of": AS_OF.isoformat(), "notice": notice, "prices": rows}, indent=2))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("model", overflow="fold"),
        *(Column(name, justify="right") for name in ("input", "cached", "output")),
        box=SIMPLE,
    )
    for price in chosen:
        cached = "" if price.cached is None else f"{price.cached:g}"
        mark = "" if price.above is None else " *"
        table.add_row(price.name + mark, f"{price.input:g}", cached, f"{price.output:g}")
    Console().print(table)
    typer.echo(f"USD per million tokens, as of {AS_OF.isoformat()}, from:")
    for source in dict.fromkeys(price.source for price in chosen):
        typer.echo(f"  {source}")
    if any(price.above for price in chosen):
        typer.echo("* long prompts cost more, and are counted too low")
    if notice:
        typer.echo(notice, err=True)
