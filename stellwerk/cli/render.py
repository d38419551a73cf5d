"""What a run looks like in a terminal. All that comes from models and documents is shown as plain text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from stellwerk.graphs.progress import Progress, Row
from stellwerk.ledger import BudgetLine, Counterfactual, LedgerRecord, Line
from stellwerk.nodes.synthesize import as_text
from stellwerk.persistence.run_units import Run

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {
    "waiting": ("·", "dim"),
    "asking": ("?", "magenta"),
    "accepted": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "yellow"),
}
_RUN_STYLES = {
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "interrupted": "yellow",
    "waiting": "magenta",
    "cancelled": "yellow",
}
_TOTALS = {
    "input": "tokens in",
    "output": "tokens out",
    "usd": "USD",
    "unpriced": "unpriced calls",
    "seconds": "model seconds",
}
# Escape sequences (CSI, OSC and the two-character ones), then single control characters, and those that
# reorder text: a model or a document must not be able to drive the reader's terminal.
_UNSAFE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def plain(text: str) -> str:
    """The text without escape sequences and control characters other than newline and tab."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n"))


def one_line(text: str, width: int = 500) -> str:
    """The text as one plain line, cut at `width` characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


@contextmanager
def watch(progress: Progress, console: Console) -> Iterator[Callable[[str], None]]:
    """Show the progress: as a tree that moves on a terminal, else as the lines that are said."""
    if not console.is_terminal:
        yield lambda line: console.print(one_line(line))
        return

    def picture() -> Tree:
        return plan_tree(progress, height=console.height - 4)

    with Live(get_renderable=picture, console=console, refresh_per_second=8, transient=True):
        yield lambda line: None


def plan_tree(progress: Progress, *, height: int | None = None) -> Tree:
    """The plan with the state of each subtask; finished ones are left out where `height` is too small."""
    now = time.monotonic()
    rows = list(progress.rows.values())
    done = sum(row.state in ("accepted", "failed", "skipped") for row in rows)
    clock = Text(f"  {now - progress.started:.0f} s", style="dim")
    if not rows:
        return Tree(Text.assemble((_spin(now), "cyan"), " planning", clock))
    merging = f"  {_spin(now)} merging" if progress.phase == "merging" and height else ""
    tree = Tree(Text.assemble((f"{done} of {len(rows)} subtasks done{merging}", "bold"), clock))
    shown = rows
    if height is not None and len(rows) + sum(len(row.rejected) for row in rows) > height:
        # What moves comes first; the tree is printed in full at the end.
        shown = sorted(rows, key=lambda row: (row.state != "running", row.state != "waiting"))
        shown = shown[: max(1, height // 2)]
    for row in shown:
        branch = tree.add(_row(row, rows, now))
        for rejection in row.rejected:
            branch.add(
                _cut(Text.assemble(("✗ ", "yellow"), (rejection.tier, "dim"), "  ", one_line(rejection.why)))
            )
    if len(shown) < len(rows):
        tree.add(Text(f"… and {len(rows) - len(shown)} more", style="dim"))
    return tree


def ledger_table(ledger: LedgerRecord) -> Table:
    """Calls, tokens, money and model-seconds by tier and by worker."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    columns = [("", "total"), *_cells(ledger["total"])]
    for index, (header, footer) in enumerate(columns):
        table.add_column(header, footer, justify="right" if index else "left", no_wrap=True)
    for group in (ledger["by_tier"], ledger["by_worker"]):
        for name, line in group.items():
            table.add_row(Text(plain(name)), *(cell for _, cell in _cells(line)))
        table.add_section()
    return table


def ledger_notes(ledger: LedgerRecord) -> Table:
    """Attempts, times, and the comparison with the large tier."""
    rejected = "; ".join(
        f"{worker}: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        for worker, reasons in ledger["rejected_by_worker"].items()
    )
    accepted, large = sum(ledger["accepted"].values()), ledger["all_large"]
    tools = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in ledger.get("tools", {}).items())
    notes = Table.grid(padding=(0, 2))
    for name, note in (
        (
            "attempts",
            f"{ledger['attempts']}: {accepted} accepted, {ledger['attempts'] - accepted} rejected"
            + (f" ({rejected})" if rejected else "")
            + (f"; {ledger['cached']} from the cache, free" if ledger.get("cached") else ""),
        ),
        *([("tools", tools)] if tools else []),
        ("time", f"{ledger['wall_seconds']:.1f} s in all"),
        ("planning", _planning(ledger)),
        *_budget(ledger.get("budget")),
        ("all large", _all_large(large, ledger["total"])),
        ("", f"that is {large['method']}"),
    ):
        notes.add_row(name, Text(one_line(note), style="dim" if not name else ""))
    return notes


def _budget(budget: BudgetLine | None) -> list[tuple[str, str]]:
    if budget is None:
        return []
    units = {"usd": "USD", "seconds": "s"}
    limits = ", ".join(f"{limit:g} {units.get(name, name)}" for name, limit in budget["limits"].items())
    ended = f"; ended by {units.get(budget['ended'], budget['ended'])}" if budget["ended"] else ""
    return [("budget", limits + ended)]


def runs_table(runs: Sequence[Run], now: datetime, waiting: Collection[str] = ()) -> Table:
    """Runs, one a line; times are local. Those whose ids are in `waiting` wait for a person."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "thread", "status", "started", "took", "task"):
        gives_way = name in ("thread", "task")  # where the terminal is narrow
        table.add_column(
            name,
            no_wrap=not gives_way,
            min_width=10 if gives_way else None,
            justify="right" if name == "took" else "left",
        )
    for run in runs:
        started = run.started_at.astimezone()
        status = "waiting" if run.run_id in waiting else run.status
        table.add_row(
            run.run_id[:8],
            _cut(Text(one_line(run.thread_id, 32))),
            Text(status, style=_RUN_STYLES[status]),
            f"{started:%m-%d %H:%M}" if started.year == now.year else f"{started:%Y-%m-%d}",
            _took(run, now),
            _cut(Text(one_line(run.task))),
        )
    return table


def run_details(run: Run, now: datetime, questions: int = 0) -> Table:
    """One run in full; times are local. `questions` are those that it asks a person."""
    details = Table.grid(padding=(0, 2))
    details.add_column(style="dim", no_wrap=True)
    details.add_column(overflow="fold")
    status = Text(run.status, style=_RUN_STYLES[run.status])
    if run.cancel_requested and run.status == "running":
        status.append("  asked to end", style="yellow")
    if questions:
        answers = "an answer" if questions == 1 else f"{questions} answers"
        status = Text(f"waits for {answers} of a person", style=_RUN_STYLES["waiting"])
    ended = run.ended_at
    rows: list[tuple[str, str | Text | None]] = [
        ("run", run.run_id),
        ("thread", plain(run.thread_id)),
        ("task", plain(run.task)),
        ("status", status),
        ("error", plain(run.error) if run.error else None),
        ("started", f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("ended", None if ended is None else f"{ended.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("took", _took(run, now) or None),
        ("by", f"{plain(run.holder)}, Stellwerk {plain(run.version)}"),
    ]
    if run.totals:
        rows += [
            (_TOTALS.get(name, one_line(name.replace("_", " "), 24)), _figure(value))
            for name, value in run.totals.items()
        ]
    for name, value in rows:
        if value is not None:
            details.add_row(name, value if isinstance(value, Text) else Text(value))
    return details


def failure_lines(failure: Mapping[str, Any]) -> list[str]:
    """What is missing, by whom and how often it was tried, and why."""
    told = failure.get("subtasks") or {}  # an older version told the reasons alone
    lines = [f"not done: {one_line(failure['message'])}"]
    for name, why in failure["missing"].items():
        by = one_line(_tried(told[name]), 120) if name in told else ""
        lines.append(f"  {name}{f' ({by})' if by else ''}: {one_line(why)}")
    return lines


def _tried(failed: Mapping[str, Any]) -> str:
    attempts = failed["attempts"]
    if not attempts:
        return str(failed["worker"])
    reasons = f": {', '.join(failed['reasons'])}" if attempts > 1 else ""
    many = f"{attempts} attempts" if attempts > 1 else "1 attempt"
    return f"{failed['worker']}, {many}, the last on {failed['tier']}{reasons}"


def _row(row: Row, rows: list[Row], now: float) -> Text:
    mark, style = (_spin(now), "cyan") if row.state == "running" else _MARKS[row.state]
    widths = [
        max(len(cell) for cell in column) for column in zip(*(_columns(row) for row in rows), strict=True)
    ]
    name, worker, tier = (cell.ljust(width) for cell, width in zip(_columns(row), widths, strict=True))
    seconds = f"{busy:6.1f} s" if (busy := row.busy(now)) else " " * 8
    attempt = f"attempt {row.attempt}" if row.attempt > 1 else ""
    return _cut(
        Text.assemble(
            (f"{mark} ", style), (name, "bold"), "  ", worker, "  ", (tier, "blue"), seconds, "  ",
            (f"{attempt}  " if attempt else "", "yellow"), _note(row, rows),
        )
    )  # fmt: skip


def _columns(row: Row) -> tuple[str, str, str]:
    return row.subtask.id, row.subtask.worker, one_line(row.tier, 24)


def _note(row: Row, rows: list[Row]) -> Text:
    if row.state == "accepted":
        return Text(one_line(as_text(row.value)), style="green")
    if row.state in ("failed", "skipped"):
        return Text(one_line(row.why), style="red" if row.state == "failed" else "yellow")
    if row.state == "asking":
        return Text("asks a person", style="magenta")
    open_ones = {other.subtask.id for other in rows if other.state != "accepted"}
    if needed := [name for name in row.subtask.depends_on if name in open_ones]:
        return Text(f"waits for {', '.join(needed)}", style="dim")
    waits = "waits for its turn: " if row.state == "waiting" and row.attempt else ""
    return Text(waits + one_line(row.subtask.instruction), style="dim")


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _spin(now: float) -> str:
    return _SPINNER[int(now * 10) % len(_SPINNER)]


def _took(run: Run, now: datetime) -> str:
    end = now if run.status == "running" else run.ended_at
    if end is None:
        return ""
    seconds = max(0.0, (end - run.started_at).total_seconds())
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 100 else f"{hours:.1f} h"


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))


def _planning(ledger: LedgerRecord) -> str:
    line = ledger.get("planning")
    if line is None:  # of an older version
        return f"{ledger['planning_seconds']:.1f} s"
    if (kept := ledger.get("plan_kept")) is not None:
        return f"no call; the plan kept at {kept[:16].replace('T', ' ')} UTC was used again"
    if not line["calls"]:
        return "no call"
    cells = dict(_cells(line))
    usd = cells["USD"] if line["unpriced"] else f"{cells['USD']} USD"
    said = f"{line['seconds']:.1f} s, {cells['tokens in']} tokens in, {cells['out']} out, {usd}"
    replans = ledger.get("replans", 0)
    return said + (f"; {replans} after the first plan" if replans else "")


def _cells(line: Line) -> list[tuple[str, str]]:
    usd = _usd(line["usd"]) if line["unpriced"] < line["calls"] else "unpriced"
    return [
        ("calls", f"{line['calls']:,}"),
        ("tokens in", f"{line['input']:,}"),
        ("cached", f"{line['cached']:,}"),
        ("out", f"{line['output']:,}"),
        ("USD", f"{usd}+" if 0 < line["unpriced"] < line["calls"] else usd),
        ("model s", f"{line['seconds']:.1f}"),
    ]


def _all_large(large: Counterfactual, total: Line) -> str:
    usd, seconds = large["usd"], large["seconds"]
    parts = [
        "no price to tell the money"
        if usd is None
        else f"{_usd(usd)} USD{_against(total['usd'], usd) if not total['unpriced'] else ''}",
        "no call there to tell the time"
        if seconds is None
        else f"{seconds:.1f} model-seconds{_against(total['seconds'], seconds)}",
    ]
    return f"{one_line(large['tier'], 40)}: {', '.join(parts)}"


def _against(actual: float, large: float) -> str:
    return f" (this run {actual / large - 1:+.0%})" if large > 0 else ""


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.6f}"
