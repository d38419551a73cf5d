"""`stellwerk runs`: list the runs, look at one, cancel one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, existing_database, settings_of, shown_place
from stellwerk.errors import InputError, UntrustedDataError

if TYPE_CHECKING:  # SQLAlchemy takes a while to import; `--help` does without
    from stellwerk.graphs.questions import Asked
    from stellwerk.persistence.run_units import Run
    from stellwerk.persistence.runs import RunStore

app = typer.Typer(help="List, show and cancel runs.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        metavar="RUN|THREAD",
        help="A run's id or its beginning, or a thread for its newest run.",
        show_default=False,
    ),
]


@app.command("list")
def list_runs(
    *,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only runs of this status; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show runs, newest first."""
    with errors(), _store(database) as (store, place):
        runs = store.list(status=status or None, limit=limit)  # type: ignore[arg-type]
        asked = {run.run_id: _asked(store, run) for run in runs}
        if as_json:
            plain = [_plain(run, asked[run.run_id]) for run in runs]
            typer.echo(json.dumps(plain, indent=2, default=str))
        elif not runs:
            which = f" that are {' or '.join(status)}" if status else ""
            typer.echo(f"no runs{which} in {place}", err=True)
        else:
            from rich.console import Console

            from stellwerk.cli.render import runs_table

            waiting = [name for name, questions in asked.items() if questions]
            Console().print(runs_table(runs, datetime.now(UTC), waiting))


@app.command("show")
def show_run(name: Name, *, as_json: AsJson = False, database: Database = None) -> None:
    """Show one run, with the questions that it asks a person."""
    with errors(), _store(database) as (store, place):
        run = _found(store.find(name), name, place)
        asked = _asked(store, run)
        if as_json:
            typer.echo(json.dumps(_plain(run, asked), indent=2, default=str))
            return
        from rich.console import Console

        from stellwerk.cli.render import run_details

        console = Console(highlight=False, markup=False)
        console.print(run_details(run, datetime.now(UTC), len(asked)))
        if asked:
            from stellwerk.cli.people import questions_shown
            from stellwerk.cli.run import how_to_answer

            console.print(questions_shown(asked))
            console.print()
            console.print("\n".join(how_to_answer(asked, run.thread_id, database)), soft_wrap=True)


@app.command("cancel")
def cancel_run(name: Name, *, database: Database = None) -> None:
    """Ask a run to end as with Ctrl-C; it can be resumed. Exits with 1 if nobody runs it."""
    with errors(), _store(database) as (store, place):
        run = _found(store.find(name), name, place)
        found = store.request_cancel(run.run_id)
        run = _found(found, name, place)
        what = f"run {run.run_id} of thread {run.thread_id}"
        if run.status == "running":
            typer.echo(f"asked {run.holder} to end {what}; to go on later: stellwerk resume {run.thread_id}")
            return
        again = run.status in ("interrupted", "cancelled")
        hint = f"; to go on: stellwerk resume {run.thread_id}" if again else ""
        typer.echo(f"{what} is not running any more: it is {run.status}{hint}", err=True)
        raise typer.Exit(1)


@contextmanager
def _store(database: str | None) -> Iterator[tuple[RunStore, str]]:
    """The runs, and where they are."""
    from stellwerk.persistence.runs import RunStore

    with RunStore.from_url(existing_database(database)) as store:
        yield store, shown_place(settings_of(database))


def _found(run: Run | None, name: str, place: str) -> Run:
    if run is None:
        raise InputError(f"there is no run or thread {name} in {place}; see: stellwerk runs list")
    return run


def _asked(store: RunStore, run: Run) -> list[Asked]:
    """What a run waits for; nothing where it was broken off, or where its thread has gone on since."""
    if run.status != "interrupted" or run.error:
        return []
    if store.list(thread_id=run.thread_id, limit=1)[0].run_id != run.run_id:
        return []
    from stellwerk.graphs.questions import open_questions
    from stellwerk.persistence.saver import SQLAlchemySaver

    try:
        saved = SQLAlchemySaver(store.database).get_tuple({"configurable": {"thread_id": run.thread_id}})
    except UntrustedDataError:  # of a program with types or a key of its own, which has to show them itself
        return []
    return open_questions(saved)


def _plain(run: Run, asked: Sequence[Asked]) -> dict[str, Any]:
    plain: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(run).items()
    }
    return {**plain, "questions": [one.plain() for one in asked]}
