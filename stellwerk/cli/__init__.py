"""The command line."""

from __future__ import annotations

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

from stellwerk.cli import db, models, runs, tiers, traces
from stellwerk.cli.run import resume, run

app = typer.Typer(
    help="Run tasks on small language models first.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.command()(run)
app.command()(resume)
app.add_typer(tiers.app, name="tiers")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(db.app, name="db")
app.add_typer(traces.app, name="traces")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stellwerk {version('stellwerk')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `stellwerk` command."""
    for stream in (sys.stdout, sys.stderr):
        # A model may answer in any script; a terminal that cannot show it must not end the run.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
