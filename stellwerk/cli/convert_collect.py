"""`stellwerk convert collect`: logs of other tools become traces."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stellwerk.cli.database import AsJson, Database, errors, made_database, plain, settings_of
from stellwerk.errors import InputError

if TYPE_CHECKING:  # LangChain takes a second to import; `--help` does without
    from stellwerk.conversion.collect import Collected

_BAD = 10  # rows that are shown


class LogFormat(StrEnum):
    """What a log looks like."""

    OPENAI = "openai"
    LANGSMITH = "langsmith"
    LANGFUSE = "langfuse"
    TRAJECTORY = "trajectory"


def collect(
    files: Annotated[list[Path], typer.Argument(help="JSON or JSON lines, of any size.", show_default=False)],
    *,
    format: Annotated[
        LogFormat | None,
        typer.Option("--format", help="Of the files; told from their first rows if not given."),
    ] = None,
    call_site: Annotated[
        str,
        typer.Option("--call-site", help="For calls of which the log does not say it.", show_default=False),
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="For calls of which the log does not say it.", show_default=False)
    ] = "",
    program: Annotated[
        str, typer.Option("--program", help="Stands before each call site.", show_default=False)
    ] = "",
    hci: Annotated[
        list[str] | None,
        typer.Option(
            "--hci", help="Call site that talks to a person, as 'chat/*'; left out.", show_default=False
        ),
    ] = None,
    user_key: Annotated[
        str,
        typer.Option("--user-key", help="Where in a row the user is, as info.user_id.", show_default=False),
    ] = "",
    thread_key: Annotated[
        str, typer.Option("--thread-key", help="Where in a row the thread is.", show_default=False)
    ] = "",
    priced_as: Annotated[
        list[str] | None,
        typer.Option(
            "--priced-as",
            help="Price of a model, as gpt-4o-2024-08-06=openai/gpt-4o of the price list.",
            show_default=False,
        ),
    ] = None,
    succeeds_at: Annotated[
        float, typer.Option("--succeeds-at", help="Reward from which a run has succeeded.")
    ] = 1.0,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Import calls from logs of OpenAI's API, LangSmith, Langfuse or agents, each call once.

    A program that runs on LangChain or LangGraph needs no import: give it a TraceRecorder.
    """
    with errors():
        from rich.console import Console

        from stellwerk.conversion.collect import collect as brought
        from stellwerk.conversion.foreign_call import price_of
        from stellwerk.conversion.imports.parsed import ImportOptions
        from stellwerk.persistence.traces import TraceStore
        from stellwerk.prices import price_named

        prices = {}
        for each in priced_as or ():
            asked, _, name = each.partition("=")
            if (listed := price_named(name)) is None:
                raise InputError(
                    f"--priced-as {each!r}: the price list has no {name!r}; see: stellwerk prices list"
                )
            prices[asked] = price_of(listed)
        settings = settings_of(database).conversion
        of_traces = settings.of_traces()  # before anything is made
        options = ImportOptions(
            call_site=call_site,
            model=model,
            program=program,
            hci=[*settings.hci, *(hci or ())],
            user_key=user_key,
            thread_key=thread_key,
            prices=prices,
            succeeds_at=succeeds_at,
        )
        console = Console(stderr=True)
        with (
            TraceStore.from_url(made_database(database), **of_traces) as traces,
            console.status("reading") as shown,
        ):
            done = brought(
                files,
                traces,
                format=None if format is None else format.value,
                options=options,
                tell=lambda done: shown.update(f"{done.rows:,} rows, {done.added.new:,} new calls"),
            )
    if as_json:
        bad = [{"file": row.file, "line": row.line, "why": row.why} for row in done.shown]
        sites = dict(done.sites.most_common())
        typer.echo(json.dumps({**done.counts(), "call_sites": sites, "bad_rows": bad}, indent=2))
    else:
        _show(done)


def _show(done: Collected) -> None:
    typer.echo(f"{done.added.new:,} calls are new, {done.added.known:,} were known; {done.rows:,} rows read")
    left_out = {
        "rows hold no call": done.others,
        "calls talk to a person": done.hci,
        "calls are Stellwerk's own": done.own,
        "calls may not be kept": done.added.denied,
        "calls cannot be stored": done.added.refused,
        "rows cannot be read": done.bad,
    }
    for why, number in left_out.items():
        if number:
            typer.echo(f"left out: {number:,} {why}")
    for row in done.shown[:_BAD]:
        typer.echo(f"{plain(row.file)}:{row.line}: {plain(row.why)}", err=True)
    if done.bad > _BAD:
        typer.echo(f"... and {done.bad - min(_BAD, len(done.shown)):,} more", err=True)
    for site, number in done.sites.most_common(20):
        typer.echo(f"{number:>9,}  {plain(site)}")
