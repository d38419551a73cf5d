"""`stellwerk traces`: read, export and judge what was attempted."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stellwerk.cli.database import AsJson, Database, errors, existing_database, plain, settings_of
from stellwerk.cli.judge import judge
from stellwerk.cli.times import Since, Until
from stellwerk.errors import InputError

if TYPE_CHECKING:
    from stellwerk.persistence.traces import AttemptFilter, TraceStore

app = typer.Typer(help="Read, export and judge what was attempted.", no_args_is_help=True)


class Source(StrEnum):
    """Who judged an answer."""

    GOLD = "gold"
    PERSON = "person"
    JUDGE = "judge"


class Format(StrEnum):
    """What a file of traces looks like."""

    PARQUET = "parquet"
    CHAT = "chat"


Run = Annotated[
    str | None, typer.Option("--run", help="Only of this run; the beginning of its id is enough.")
]
Thread = Annotated[str | None, typer.Option("--thread", help="Only of this thread.")]
Worker = Annotated[str | None, typer.Option("--worker", help="Only of this worker.")]
Tier = Annotated[str | None, typer.Option("--tier", help="Only on this tier.")]
Accepted = Annotated[
    bool | None, typer.Option("--accepted/--rejected", help="Only those accepted, or rejected.")
]


@app.command("list")
def list_attempts(
    *,
    run: Run = None,
    thread: Thread = None,
    worker: Worker = None,
    tier: Tier = None,
    accepted: Accepted = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="So many at most.", min=0)] = 20,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show attempts, newest first."""
    with errors(), _opened(database) as store:
        only = _filter(store, run, thread, worker, tier, accepted, since, until)
        found = list(store.attempts(limit=limit, **only))
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=lambda moment: moment.isoformat()))
        return
    table = Table("time", "run", "subtask", "worker", "tier", "verdict", box=SIMPLE)
    for row in found:
        verdict = "accepted" if row["accepted"] else plain(row["reason"] or "rejected")
        cells = (f"{row['created_at']:%m-%d %H:%M:%S}", row["run_id"][:8], row["subtask"], row["worker"])
        table.add_row(*(Text(plain(cell)) for cell in (*cells, row["tier"], verdict)))
    Console().print(table)
    for row in found:
        typer.echo(f"{row['trace_id']}  {plain(row['worker'])} {plain(row['subtask'])}".rstrip())


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="File to write; replaced if it is there.", show_default=False)],
    *,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="By the file's name if not given: .parquet, or .jsonl for chat."),
    ] = None,
    run: Run = None,
    thread: Thread = None,
    worker: Worker = None,
    tier: Tier = None,
    accepted: Accepted = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Write attempts to a Parquet file, or as chats to a JSONL file."""
    with errors():
        from stellwerk.persistence.trace_export import export_chat_jsonl, export_parquet

        chosen = format or {".parquet": Format.PARQUET, ".jsonl": Format.CHAT}.get(path.suffix)
        if chosen is None:
            raise InputError(f"{path}: say --format parquet or --format chat, or name it .parquet or .jsonl")
        write = export_parquet if chosen is Format.PARQUET else export_chat_jsonl
        with _opened(database) as store:
            only = _filter(store, run, thread, worker, tier, accepted, since, until)
            done = write(store, path, **only)
    if as_json:
        outcome = {"path": str(path), "written": done.written, "left_out": done.left_out}
        typer.echo(json.dumps(outcome, indent=2))
    else:
        left_out = f"; {done.left_out:,} without prompt or answer left out" if done.left_out else ""
        typer.echo(f"{done.written:,} attempts in {path}{left_out}")


@app.command()
def feedback(
    id: Annotated[str, typer.Argument(help="Trace id or run id.", show_default=False)],
    *,
    score: Annotated[float | None, typer.Option("--score", help="The higher the better.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Such as right or wrong.")] = None,
    comment: Annotated[str | None, typer.Option("--comment", help="In words.")] = None,
    who: Annotated[str | None, typer.Option("--who", help="Who says so.")] = None,
    source: Annotated[
        Source | None,
        typer.Option("--source", help="A known answer, a person, or a judging model; a person if not given."),
    ] = None,  # old versions of typer cannot show an enum's default
    thread: Annotated[str | None, typer.Option("--thread", help="Thread of the run.")] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Say what you think of an attempt or a run; without an opinion, show what was said."""
    with errors(), _opened(database) as store:
        if score is None and not label and not comment:
            _check_known(store, id, thread)
        else:
            store.add_feedback(
                id,
                score=score,
                label=label,
                comment=comment,
                who=who,
                source=(source or Source.PERSON).value,
                thread_id=thread,
            )
        said: list[dict[str, Any]] = [
            dict(one) for one in (*store.feedback(trace_id=id), *store.feedback(run_id=id))
        ]
    if as_json:
        typer.echo(json.dumps(said, indent=2, default=lambda moment: moment.isoformat()))
        return
    for one in said:
        parts = [f"{one['created_at']:%Y-%m-%d %H:%M}", one["source"], one["who"], one["label"]]
        parts += [None if one["score"] is None else f"{one['score']:g}", one["comment"]]
        typer.echo("  ".join(plain(str(part)) for part in parts if part))


app.command()(judge)


def _opened(database: str | None) -> TraceStore:
    """The database, given or from the settings; ids of threads may be stored as hashes of its key."""
    from stellwerk.persistence.traces import TraceStore

    options = settings_of(database).conversion.of_traces()
    return TraceStore.from_url(existing_database(database), **options)


def _check_known(store: TraceStore, id: str, thread: str | None) -> None:
    from stellwerk.persistence import trace_units

    threads = None if thread is None else store.keys.names(thread)
    if not store.database.read(lambda c: trace_units.find(c, id, threads)):
        raise InputError(f"no attempt and no run has the id {id!r}; see: stellwerk traces list")


def _complete(store: TraceStore, run: str) -> str:
    """The id of the run whose id begins so; an id that no run has is left as it is."""
    from stellwerk.persistence import trace_units

    found = store.database.read(lambda c: trace_units.run_ids(c, run))
    if len(found) > 1:
        raise InputError(
            f"several runs begin with {run!r}, such as {found[0]!r} and {found[1]!r}; give more of it"
        )
    return found[0] if found else run


def _filter(
    store: TraceStore,
    run: str | None,
    thread: str | None,
    worker: str | None,
    tier: str | None,
    accepted: bool | None,
    since: datetime | None,
    until: datetime | None,
) -> AttemptFilter:
    return {
        "run_id": None if run is None else _complete(store, run),
        "thread_id": thread,
        "worker": worker,
        "tier": tier,
        "accepted": accepted,
        "since": since,
        "until": until,
    }
