"""The report as HTML: pages of an application, or one file that holds all it needs."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stellwerk.errors import MissingExtraError
from stellwerk.report import charts
from stellwerk.report.drawing import BOX, MOST, draw
from stellwerk.report.records import Overview, RunLine, RunView
from stellwerk.report.router import RouterView

if TYPE_CHECKING:
    from jinja2 import Environment

COLOURS = 5  # of tiers; those above share the last one, and are told apart by their names


def standalone(
    *, overview: Overview | None = None, views: Sequence[RunView] = (), router: RouterView | None = None
) -> str:
    """A page that needs no other file, nor a network. It says so itself, in a Content-Security-Policy.

    Args:
        overview: all runs; None for a page of the runs alone.
        views: runs that are shown with their plans.
        router: the router, if there is one.

    Raises:
        MissingExtraError: if Jinja2 is not installed.
    """
    style = static("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _render(
        overview=overview,
        views=views,
        router=router,
        style=style,
        policy=policy,
        shown={view.run.run_id for view in views},
        served=False,
    )


def served_overview(overview: Overview, router: RouterView | None, *, pulse: str, period: str) -> str:
    """The page of all runs, for an application that serves the style and the script beside it.

    Args:
        overview: all runs.
        router: the router, if there is one.
        pulse: a text that changes when there is something new to see.
        period: name of the time that was asked for.

    Raises:
        MissingExtraError: if Jinja2 is not installed.
    """
    live = any(run.outcome == "running" for run in overview.runs)
    return _render(
        overview=overview,
        views=(),
        router=router,
        served=True,
        live=live,
        pulse=pulse,
        period=period,
        shown=(),
    )


def served_run(view: RunView, *, pulse: str) -> str:
    """The page of one run; see `served_overview`."""
    live = view.run.outcome == "running"
    return _render(
        overview=None, views=[view], router=None, served=True, live=live, pulse=pulse, period="", shown=()
    )


def run_query(run: RunLine) -> str:
    """What names a run in an address."""
    return urlencode({"run": run.run_id, "thread": run.thread_id})


@cache
def static(name: str) -> str:
    """The style or the script."""
    return files("stellwerk.report").joinpath("static", name).read_text(encoding="utf-8")


def _render(**told: Any) -> str:
    views = [(f"r{number}", view, _drawn(view)) for number, view in enumerate(told.pop("views"))]
    overview: Overview | None = told["overview"]
    tiers = overview.tiers if overview is not None else views[0][1].tiers if views else []
    anchors = {view.run.run_id: anchor for anchor, view, _ in views}
    page = _environment().get_template("report.html")
    return page.render(
        **told,
        views=views,
        anchors=anchors,
        tiers=tiers,
        box=BOX,
        most=MOST,
        now=overview.made_at if overview is not None else datetime.now(UTC),
    )


def _drawn(view: RunView) -> Any:
    return draw(view.subtasks) if 0 < len(view.subtasks) <= MOST else None


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None

    def load(name: str) -> str:
        return files("stellwerk.report").joinpath("templates", name).read_text(encoding="utf-8")

    # Everything is escaped, whatever the template is called.
    made = Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": usd,
        "seconds": seconds,
        "share": share,
        "number": lambda value: f"{value:,}",
        "moment": lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}",
        "exact": lambda moment: moment.astimezone(UTC).isoformat(timespec="seconds"),
        "figure": lambda value: "–" if value is None else f"{value:.3f}",
        "cut": lambda said, most: said if len(said) <= most else said[: most - 1] + "…",
        "colour": _colour,
        "rank": _rank,
        "query": run_query,
        "parts": charts.parts,
        "words": lambda said: said.replace("_", " "),
    }
    made.globals |= {"axis": charts.axis, "colours": COLOURS}
    return made


def usd(value: float | None) -> str:
    """Money: cents where there are some, else as many digits as it takes to see something."""
    if value is None:
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 0.995:
        return f"{value:,.2f}"
    if size >= 0.00001:
        return f"{value:.4f}" if size >= 0.01 else f"{value:.6f}"
    return f"{value:.{1 - math.floor(math.log10(size))}f}"  # two digits, and no power of ten to work out


def seconds(value: float | None) -> str:
    """A time, in the unit that fits."""
    if value is None:
        return "–"
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    return f"{value / 60:,.0f} min" if value < 6_000 else f"{value / 3600:,.1f} h"


def share(value: float | None) -> str:
    """A share, in percent; 100 % is said of all only."""
    if value is None:
        return "–"
    percent = 100 * value
    if 99.5 <= percent < 100:
        return f"{min(percent, 99.9):.1f} %"
    return f"{percent:.0f} %" if abs(percent) >= 0.5 or percent == 0 else f"{percent:.1f} %"


def _rank(tier: str | None, tiers: Sequence[str]) -> int:
    """The place of a tier in the ladder, from 1; 0 for none."""
    return tiers.index(tier) + 1 if tier in tiers else 0


def _colour(tier: str | None, tiers: Sequence[str]) -> str:
    """The class of its colour."""
    place = _rank(tier, tiers)
    # The dearest always has the last colour, so that it looks the same in ladders of two and of five.
    if place == len(tiers) > 1:
        return f"t{COLOURS}"
    return f"t{min(place, COLOURS - 1)}"
