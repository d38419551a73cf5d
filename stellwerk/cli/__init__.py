"""The command line."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from stellwerk.cli import config, convert, db, models, prices, router, runs, server, tiers, traces
from stellwerk.cli.report import report
from stellwerk.cli.run import resume, run
from stellwerk.settings import config_file

app = typer.Typer(
    help="Run tasks on small language models first.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.command()(run)
app.command()(resume)
app.command()(report)
app.add_typer(tiers.app, name="tiers")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(db.app, name="db")
app.add_typer(traces.app, name="traces")
app.add_typer(router.app, name="router")
app.add_typer(convert.app, name="convert")
app.add_typer(tiers.app, name="tiers")
app.add_typer(prices.app, name="prices")
app.add_typer(config.app, name="config")
app.add_typer(server.app, name="serve")


class LogFormat(StrEnum):
    """Of `--log-format`."""

    TEXT = "text"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stellwerk {version('stellwerk')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="File of settings, instead of the nearest stellwerk.toml.",
            envvar=None,
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        # None for text: a member of an enumeration is no default that the oldest typer takes.
        LogFormat | None,
        typer.Option(
            "--log-format", help="Form of what is logged; text by default.", envvar="STELLWERK_LOG_FORMAT"
        ),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    token = config_file.set(None if settings_file is None else str(settings_file))
    context.call_on_close(lambda: config_file.reset(token))
    if log_format is LogFormat.JSON:
        from stellwerk.logs import log_json  # with it comes LangGraph

        log_json()


def main() -> None:
    """Entry point of the `stellwerk` command."""
    for stream in (sys.stdout, sys.stderr):
        # A model may answer in any script; a terminal that cannot show it must not end the run.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
