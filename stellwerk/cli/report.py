"""`stellwerk report`: what ran, on which tier, and what it saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, existing_database, plain
from stellwerk.cli.status import status
from stellwerk.cli.times import Since, Until
from stellwerk.errors import InputError

if TYPE_CHECKING:  # SQLAlchemy takes a while to import; `--help` does without
    from rich.table import Table

    from stellwerk.persistence.traces import TraceStore
    from stellwerk.report.records import Overview, RunView
    from stellwerk.report.router import RouterView

_LISTED = 200


def report(
    *,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page that needs nothing else; replaces FILE."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="This run alone; the beginning of its id is enough.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", help="The newest run of this thread alone, or its run of --run.")
    ] = None,
    since: Since = None,
    until: Until = None,
    plans: Annotated[
        int, typer.Option("--plans", min=0, help="So many of the newest runs with their plans.")
    ] = 20,
    contents: Annotated[
        bool, typer.Option("--contents", help="Show tasks, prompts, answers and errors as well.")
    ] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show what ran, on which tier, and what it saved: as a summary, as a page (--html), or as data (--json).

    What was saved is an estimate. Tasks, prompts and answers are left out unless you ask for --contents.
    """
    with errors():
        from stellwerk.persistence.traces import TraceStore

        with TraceStore.from_url(existing_database(database)) as traces:
            if run is not None or thread is not None:
                _give(html, as_json, None, [_run(traces, run, thread, contents=contents)], None)
                return
            from stellwerk.report.overview import overview
            from stellwerk.report.router import router_view
            from stellwerk.report.run import run_view

            with status("reading the traces"):
                found = overview(traces, since=since, until=until, limit=_LISTED, contents=contents)
                router = router_view(traces) if html is not None or as_json else None
            views = []
            if html is not None:
                shown = (
                    run_view(traces, one.run_id, thread_id=one.thread_id, contents=contents)
                    for one in found.runs[:plans]
                )
                views = [view for view in shown if view is not None]
            _give(html, as_json, found, views, router)


def _run(traces: TraceStore, run: str | None, thread: str | None, *, contents: bool) -> RunView:
    from stellwerk.report.run import run_view

    view = run_view(traces, run, thread_id=thread, contents=contents)
    if view is None:
        named = " ".join(f"{name} {value}" for name, value in (("run", run), ("thread", thread)) if value)
        raise InputError(f"there are no traces of {named}; see: stellwerk report")
    return view


def _give(
    html: Path | None,
    as_json: bool,
    overview: Overview | None,
    views: list[RunView],
    router: RouterView | None,
) -> None:
    from stellwerk.report import records

    if html is not None:
        from stellwerk.report.page import standalone

        _write(html, standalone(overview=overview, views=views, router=router))
        typer.echo(f"wrote {html}", err=True)
    if as_json:
        told: dict[str, Any] = records.plain(overview or views[0])
        if overview is not None:
            told["router"] = None if router is None else records.plain(router)
        typer.echo(json.dumps(told, indent=2))
    elif html is None:
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        if overview is not None:
            for line in _summary(overview):
                console.print(line, soft_wrap=True)
            console.print(_workers(overview))
        else:
            console.print(_subtasks(views[0]))


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _summary(found: Overview) -> list[str]:
    from stellwerk.report.page import seconds, share, usd

    totals, saving = found.totals, found.totals.saving
    outcomes = ", ".join(f"{count:,} {name}" for name, count in totals.outcomes.items()) or "none"
    lines = [f"runs      {outcomes}; success {share(totals.success)}"]
    if totals.latency is not None:
        lines.append(
            f"time      median {seconds(totals.latency.p50)}, 95 % within {seconds(totals.latency.p95)}"
        )
    unpriced = f"; {totals.unpriced:,} calls without a price" if totals.unpriced else ""
    lines.append(f"cost      {usd(totals.usd)} USD{unpriced}")
    if saving.saved is not None:
        lines.append(
            f"saved     {share(saving.share)}: {usd(saving.saved)} of {usd(saving.usd_large)} USD on the "
            f"large tier alone, in {saving.compared:,} runs (an estimate)"
        )
    answers = _counts(totals.subtasks)
    lines.append(f"answers   {answers}")
    for limit, count in totals.ended_by_budget.items():
        lines.append(f"ALARM     {count:,} ended by the budget's limit of {limit}")
    return lines


def _workers(found: Overview) -> Table:
    from stellwerk.report.page import seconds, share, usd

    table = _table("worker", "subtasks", "accepted", "rejected", "p50", "p95", "USD", "saved")
    for one in found.workers:
        table.add_row(
            *_cells(one.worker, f"{one.subtasks:,}", _counts(one.tiers), _counts(one.reasons)),
            *_cells(
                seconds(one.latency.p50 if one.latency else None),
                seconds(one.latency.p95 if one.latency else None),
                "–" if one.unpriced == one.attempts else usd(one.usd),
                "–" if one.saving is None else share(one.saving.share),
            ),
        )
    return table


def _subtasks(view: RunView) -> Table:
    from stellwerk.report.page import seconds, usd

    table = _table("subtask", "worker", "status", "tier", "attempts", "needs", "model time", "USD")
    for one in view.subtasks:
        tried = [f"{it.tier} {'accepted' if it.accepted else it.reason or 'rejected'}" for it in one.attempts]
        table.add_row(
            *_cells(one.id, one.worker, one.status, one.tier or "–", "; ".join(tried) or "none"),
            *_cells(", ".join(one.depends_on) or "–", seconds(one.seconds), usd(one.usd)),
        )
    return table


def _table(*names: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(*names, box=SIMPLE_HEAD, pad_edge=False)


def _cells(*said: str) -> list[Any]:
    from rich.text import Text

    return [Text(plain(cell)) for cell in said]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "–"
