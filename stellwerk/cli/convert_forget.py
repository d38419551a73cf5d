"""`stellwerk convert forget`: a person, or threads, wherever the database holds something of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from stellwerk.cli.database import AsJson, Database, errors, existing_database, plain, settings_of

if TYPE_CHECKING:  # SQLAlchemy takes a while to import; `--help` does without
    from stellwerk.persistence.forgetting import Forgotten

_NAMES = {
    "traces": "traces",
    "runs": "runs",
    "feedback": "pieces of feedback",
    "examples": "examples of datasets",
    "members": "places in clusters",
    "threads": "threads with checkpoints, runs and writes of tools",
    "items": "items of the store",
    "cached": "answers and plans of before, whoever they are from",
}


def forget(
    *,
    subject: Annotated[
        str,
        typer.Option("--subject", help="A person: their user id, as programs have it.", show_default=False),
    ] = "",
    thread: Annotated[
        list[str] | None,
        typer.Option("--thread", help="Id of a thread; may be repeated.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Delete what the database holds of a person or of threads, and name the adapters to train again.

    Threads in which others took part as well are left, and told: name them with --thread.

    What is broken off goes on when the command is given again.
    """
    with errors():
        from stellwerk.persistence.forgetting import Forgetting
        from stellwerk.persistence.traces import TraceStore

        threads = thread or []
        options = settings_of(database).conversion.of_traces()
        with TraceStore.from_url(existing_database(database), **options) as traces:
            forgetting = Forgetting(traces.database, traces.keys)
            done = forgetting.find(subject, threads)
            if not as_json and (dry_run or not yes):
                _show(done, "to delete")
            if not dry_run:
                if any(done.counts.values()) and not yes and not typer.confirm("Delete that?", err=True):
                    raise typer.Exit(1)
                done = forgetting.forget(subject, threads)
    if as_json:
        told = {"adapters": done.adapters, "held": done.held, "shared": done.shared, "dry_run": dry_run}
        typer.echo(json.dumps({**done.counts, **told}, indent=2))
    elif not dry_run:
        _show(done, "deleted")
    if done.held and not dry_run:
        raise typer.Exit(1)


def _show(done: Forgotten, what: str) -> None:
    for name, said in _NAMES.items():
        if done.counts[name]:
            typer.echo(f"{what}: {done.counts[name]:,} {said}")
    if not any(done.counts.values()):
        typer.echo(f"{what}: nothing")
    for thread in done.held:
        typer.echo(f"left, as a run holds it: thread {plain(thread)}", err=True)
    for thread in done.shared:
        typer.echo(f"left, as others took part: thread {plain(thread)}; name it with --thread", err=True)
    for adapter in done.adapters:
        typer.echo(f"to be trained again: adapter {plain(adapter)}")
