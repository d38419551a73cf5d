"""`stellwerk convert`: from one large model to many small ones, by what a program's own calls show."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from stellwerk.cli.convert_collect import collect
from stellwerk.cli.convert_forget import forget
from stellwerk.cli.convert_status import status
from stellwerk.cli.database import AsJson, Database, errors, existing_database, plain, settings_of

app = typer.Typer(
    help="Collect calls, and convert them from a large model to small ones.", no_args_is_help=True
)
for command in (collect, status, forget):
    app.command()(command)


class Consent(StrEnum):
    """Whether the traces of a thread may be kept."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


@app.command()
def consent(
    thread: Annotated[str, typer.Argument(help="Id of the thread.", show_default=False)],
    state: Annotated[
        Consent | None, typer.Argument(help="What is known; shown if not given.", show_default=False)
    ] = None,
    *,
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", help="Delete its traces after so many days.", min=0, show_default=False),
    ] = None,
    who: Annotated[str | None, typer.Option("--who", help="Who says so.", show_default=False)] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Say whether the traces of a thread may be kept, or show what is known of it.

    A thread that is denied leaves no more traces; `retain` deletes those that are there.
    """
    with errors():
        from stellwerk.persistence.traces import TraceStore

        options = settings_of(database).conversion.of_traces()
        with TraceStore.from_url(existing_database(database), **options) as traces:
            if state is not None:
                traces.consents.set(thread, state.value, keep_days=keep_days, who=who)
            found = traces.consents.get(thread)
    told: dict[str, Any] = {"state": "unknown", "keep_days": None, "who": None, "changed_at": None}
    if found is not None:
        moment = found.changed_at.isoformat()
        told = {"state": found.state, "keep_days": found.keep_days, "who": found.who, "changed_at": moment}
    if as_json:
        typer.echo(json.dumps({"thread": thread, **told}, indent=2))
        return
    days = f", kept for {told['keep_days']} days" if told["keep_days"] is not None else ""
    said = f" (said by {plain(told['who'])})" if told["who"] else ""
    typer.echo(f"{plain(thread)}: {told['state']}{days}{said}")


@app.command()
def retain(
    *,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days",
            help="For threads of which nothing else is said; as the settings say if not given.",
            min=0,
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Delete traces, runs and examples that are past their date, and those of threads that are denied."""
    with errors():
        from stellwerk.persistence.traces import TraceStore

        settings = settings_of(database).conversion
        days = settings.retention_days if keep_days is None else keep_days
        with TraceStore.from_url(existing_database(database), **settings.of_traces()) as traces:
            overdue = traces.consents.overdue(days)
            deleted = 0
            if overdue and not dry_run:
                if not yes and not typer.confirm(f"Delete {overdue:,} rows?", err=True):
                    raise typer.Exit(1)
                deleted = sum(traces.consents.retain(days))
    if as_json:
        typer.echo(json.dumps({"overdue": overdue, "deleted": deleted, "dry_run": dry_run}, indent=2))
    else:
        typer.echo(f"{overdue:,} rows are past their date" if dry_run else f"deleted {deleted:,} rows")
