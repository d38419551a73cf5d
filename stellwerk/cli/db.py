"""`stellwerk db`: migrate, measure and prune the database."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from stellwerk.cli.database import (
    AsJson,
    Database,
    errors,
    existing_database,
    made_database,
    plain,
    settings_of,
)
from stellwerk.errors import InputError, StellwerkError

if TYPE_CHECKING:  # SQLAlchemy and LangGraph take a second to import; `--help` does without
    from stellwerk.persistence.retention import Prunable
    from stellwerk.persistence.saver import SQLAlchemySaver

app = typer.Typer(help="Migrate, measure and prune the database.", no_args_is_help=True)

_AGE = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command()
def upgrade(*, database: Database = None) -> None:
    """Create the tables, or migrate them to this version."""
    with errors():
        from stellwerk.persistence.database import Database as Opened
        from stellwerk.persistence.migrate import HEAD, version

        with Opened.from_url(made_database(database)) as opened:
            opened.setup()
            found = opened.read(version)
        typer.echo(f"the database is of version {found or HEAD}")


@app.command()
def stats(
    *,
    threads: Annotated[int, typer.Option("--threads", help="So many of the largest threads.", min=0)] = 10,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show rows and bytes by table, and the largest threads."""
    with errors():
        from stellwerk.persistence.retention import stats as measure
        from stellwerk.persistence.saver import SQLAlchemySaver

        with SQLAlchemySaver.from_url(existing_database(database)) as saver:
            found = measure(saver, threads=threads)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=lambda moment: moment.isoformat()))
        return
    console = Console()
    tables = Table("table", _right("rows"), _right("bytes"), box=SIMPLE)
    for table in found["tables"]:
        size = "?" if table["bytes"] is None else f"{table['bytes']:,}"
        tables.add_row(Text(table["table"]), f"{table['rows']:,}", size)
    console.print(tables)
    typer.echo(f"{found['bytes']:,} bytes in all ({found['method']})")
    if found["threads"]:
        largest = Table("thread", _right("checkpoints"), _right("bytes"), "newest", box=SIMPLE)
        for thread in found["threads"]:
            largest.add_row(
                Text(plain(thread["thread_id"])),
                f"{thread['checkpoints']:,}",
                f"{thread['bytes']:,}",
                f"{thread['newest']:%Y-%m-%d %H:%M}",
            )
        console.print(largest)
        typer.echo("bytes of threads are those of their values, without indexes")


@app.command()
def prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Age, such as 30d, 12h or 2w.", show_default=False)
    ],
    keep_latest: Annotated[
        bool,
        typer.Option("--keep-latest", help="Keep the latest checkpoint of each thread, so that it goes on."),
    ] = False,
    keep_traces: Annotated[bool, typer.Option("--keep-traces", help="Keep attempts and feedback.")] = False,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the list of runs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Delete threads, runs, writes of tools and traces older than an age.

    A thread counts by its newest checkpoint.

    Traces that are past a date of their own, or of threads that are denied, go as well.

    A thread that a run holds at that moment is left as it is.
    """
    with errors():
        from stellwerk.persistence.consents import Consents
        from stellwerk.persistence.origins import OriginKeys
        from stellwerk.persistence.retention import find_prunable
        from stellwerk.persistence.saver import SQLAlchemySaver

        age, settings = _age(older_than), settings_of(database).conversion
        with SQLAlchemySaver.from_url(existing_database(database)) as saver:
            found = find_prunable(
                saver,
                older_than=age,
                keep_latest=keep_latest,
                keep_traces=keep_traces,
                keep_runs=keep_runs,
            )
            consents, days = Consents(lambda: saver.database, OriginKeys()), settings.retention_days
            outcome: dict[str, Any] = {
                "threads": len(found.threads),
                "checkpoints": sum(thread.checkpoints for thread in found.threads),
                "bytes": sum(thread.bytes for thread in found.threads),
                "held": found.held,
                "unsaved": len(found.unsaved),
                "runs": found.runs,
                "traces": found.traces,
                "effects": found.effects,
                "overdue": 0 if keep_traces else consents.overdue(days),
                "dry_run": dry_run,
            }
            typer.echo(_described(outcome, keep_latest), err=True)
            some = found.threads or found.unsaved or found.runs or found.traces or found.effects
            some = some or outcome["overdue"]
            if not dry_run and some:
                if not yes and not typer.confirm("Delete that?", err=True):
                    raise typer.Exit(1)
                outcome |= _prune(saver, found, age, keep_latest)
                if not keep_traces:
                    outcome["deleted_overdue"] = sum(consents.retain(days))
    if as_json:
        typer.echo(json.dumps(outcome, indent=2))
    elif "pruned_threads" in outcome:
        typer.echo(
            f"pruned {outcome['pruned_threads']:,} threads, deleted the writes of "
            f"{outcome['deleted_unsaved']:,} others, {outcome['deleted_runs']:,} runs "
            f"and {outcome['deleted_traces']:,} traces"
            + (f", {outcome['deleted_effects']:,} writes of tools" if outcome["deleted_effects"] else "")
            + (
                f", {outcome['deleted_overdue']:,} rows past their date"
                if outcome.get("deleted_overdue")
                else ""
            )
        )
    if outcome.get("failed"):
        raise typer.Exit(1)


def _prune(saver: SQLAlchemySaver, found: Prunable, age: timedelta, keep_latest: bool) -> dict[str, Any]:
    from stellwerk.persistence.retention import (
        prune_effects,
        prune_runs,
        prune_thread,
        prune_traces,
        prune_unsaved,
    )

    pruned = deleted = runs = 0
    failed: dict[str, str] = {}
    held = list(found.held)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("threads", total=len(found.threads))
        for thread in found.threads:
            try:
                outcome = prune_thread(saver, thread, older_than=age, keep_latest=keep_latest)
                pruned += outcome == "pruned"
                if outcome == "held":
                    held.append(thread.thread_id)
                    typer.echo(f"thread {plain(thread.thread_id)}: a run holds it; left as it is", err=True)
            except StellwerkError as error:  # one that cannot be read must not keep the others
                said = _unreadable(error)
                failed[thread.thread_id] = said
                typer.echo(f"thread {plain(thread.thread_id)}: {plain(said)}", err=True)
            progress.advance(bar)
        unsaved = sum(prune_unsaved(saver, thread, older_than=age) for thread in found.unsaved)
        if found.runs:
            bar = progress.add_task("runs", total=found.runs)
            for gone in prune_runs(saver, older_than=age):
                runs += gone
                progress.advance(bar, gone)
        if found.traces:
            bar = progress.add_task("traces", total=found.traces)
            for gone in prune_traces(saver, older_than=age):
                deleted += gone
                progress.advance(bar, gone)
        effects = sum(prune_effects(saver, older_than=age, keep_latest=keep_latest))
    return {
        "pruned_threads": pruned,
        "held": held,
        "deleted_unsaved": unsaved,
        "deleted_runs": runs,
        "deleted_traces": deleted,
        "deleted_effects": effects,
        "failed": failed,
    }


def _unreadable(error: StellwerkError) -> str:
    """What went wrong; of data that this command has no key for, or may not build, also who can prune it."""
    from stellwerk.errors import UntrustedDataError

    if not isinstance(error, UntrustedDataError):
        return str(error)
    return (
        f"{error}. --keep-latest has to read the thread, and this command cannot where it is encrypted or "
        "holds types of yours; prune it from Python, by saver.prune([thread_id], strategy='keep_latest') "
        "of the saver that has your key or your allow= list"
    )


def _described(outcome: dict[str, Any], keep_latest: bool) -> str:
    threads, checkpoints = f"{outcome['threads']:,} threads", f"{outcome['checkpoints']:,} checkpoints"
    if keep_latest:
        shown = f"{threads} with about {checkpoints} that are not the latest, of {outcome['bytes']:,} bytes"
    else:
        shown = f"{threads} with {checkpoints}, {outcome['bytes']:,} bytes"
    held = f"; left, as runs hold them: {len(outcome['held']):,} threads" if outcome["held"] else ""
    unsaved = f"; writes of {outcome['unsaved']:,} threads without a checkpoint" if outcome["unsaved"] else ""
    effects = f"; {outcome['effects']:,} writes of tools" if outcome["effects"] else ""
    effects += f"; {outcome['overdue']:,} rows past their date" if outcome["overdue"] else ""
    return (
        f"to delete: {shown}{unsaved}; {outcome['runs']:,} runs; {outcome['traces']:,} traces{effects}{held}"
    )


def _age(given: str) -> timedelta:
    match = _AGE.fullmatch(given.strip())
    if match is None:
        raise InputError(f"--older-than is {given!r}; give a number with s, m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _right(header: str) -> Column:
    return Column(header, justify="right")
