"""Pictures of cost against quality: PNG for reading, SVG for print.

Colours are those of Okabe and Ito (2008), which people tell apart who see colours differently; lines are
labelled where they run, and every router has a row of its own with its interval beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from benchmarks.routing.report import PUBLISHED
from benchmarks.routing.summary import Figures, Row, figures_of, kind, mean_of

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY, LIGHT = "#555555", "#bbbbbb"
_BY_KIND = {"ours": BLUE, "peer": RED, "plain": GREY}
_DRAWN = {"stellwerk": BLUE, "ridge": GREEN, "paretobandit": RED, "LiteLLM heuristic": PURPLE}
_COLOURS = 128
_PERCENT = FuncFormatter(lambda share, _: f"{share * 100:.3g}%")

Line = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draws what the rows have something for, and returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    styles: dict[Any, Any] = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "routing",
    }
    with mpl.rc_context(styles):
        for name, protocols, make in (
            ("routing-predictors", ("MMLU, 1,500 labels", "GSM8K, 5 folds"), _ranking),
            ("routing-tool-calls", ("BFCL 1:10:55, by function", "BFCL 1:5:90, by function"), _spending),
            ("routing-dollars", ("ParetoBandit, 5 folds",), _spending),
        ):
            known = [protocol for protocol in protocols if "stellwerk" in figures_of(rows, protocol)]
            if known:
                made += _kept(_grid(rows, known, make), folder / name)
        if found := _verified(rows):
            made += _kept(found, folder / "routing-verified")
    return made


def _kept(figure: Figure, path: Path) -> list[Path]:
    made = [path.with_suffix(".png"), path.with_suffix(".svg")]
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(made[0], optimize=True)
    figure.savefig(made[1], metadata={"Date": None})
    plt.close(figure)
    return made


def _grid(rows: Sequence[Row], protocols: Sequence[str], make: Callable[..., None]) -> Figure:
    """A row a protocol: curves on the left, every router's figure on the right."""
    figure, axes = plt.subplots(
        len(protocols),
        2,
        figsize=(10, 4.1 * len(protocols)),
        width_ratios=(1.45, 1),
        squeeze=False,
        layout="constrained",
    )
    figure.set_layout_engine("constrained", wspace=0.06)
    for protocol, (left, right) in zip(protocols, axes, strict=True):
        make(rows, protocol, left, right)
    return figure


def _ranking(rows: Sequence[Row], protocol: str, left: Axes, right: Axes) -> None:
    methods = figures_of(rows, protocol)
    limits = methods.pop("bounds")[0]
    lines: dict[str, Line] = {}
    for name in _DRAWN:
        if name in methods:
            points = np.mean([one["points"] for one in methods[name]], axis=0)
            lines[name] = points[:, 0], points[:, 1]
            left.plot(*lines[name], color=_DRAWN[name], lw=2.2 if kind(name) == "ours" else 1.2)
    ends = next(iter(lines.values()))
    mix = np.array([0.0, 1.0]), np.array([ends[1][0], ends[1][-1]])
    left.plot(*mix, color=LIGHT, lw=1.2, ls="--")
    best = np.array([0.0, limits["calls"], 1.0]), np.array([mix[1][0], limits["best"], mix[1][1]])
    left.plot(*best, color=ORANGE, lw=1.2)
    _labelled(left, {**lines, "mix by lot": mix, "oracle": best}, at=0.42)
    left.set(title=protocol, xlabel="share of calls to GPT-4", ylabel="share of right answers")
    left.xaxis.set_major_formatter(_PERCENT)
    given = PUBLISHED.get(protocol)
    _dots(right, methods, lambda one: one["apgr"], "APGR, 95% over seeds", 0.5, given)


def _spending(rows: Sequence[Row], protocol: str, left: Axes, right: Axes) -> None:
    methods = figures_of(rows, protocol)
    limits = methods.pop("bounds")[0]
    whole = limits["large"][0]
    grid = np.geomspace(limits["small"][0] / whole, 1.0, 200)
    lines: dict[str, Line] = {}
    for name, colour in _DRAWN.items():
        if name in methods:
            lines[name] = grid, np.mean([_at(one["points"], grid * whole) for one in methods[name]], axis=0)
            left.plot(*lines[name], color=colour, lw=2.2 if kind(name) == "ours" else 1.2)
    for name, colour, style in (("oracle", ORANGE, "-"), ("mix", LIGHT, "--")):
        label = {"mix": "mix by lot"}.get(name, name)
        lines[label] = grid, _at(limits[name]["points"], grid * whole)
        left.plot(*lines[label], color=colour, lw=1.2, ls=style)
    left.set_xscale("log")
    left.set(title=protocol, xlabel=f"cost, of always {limits['tiers'][-1]}", ylabel="share of right answers")
    left.xaxis.set_major_formatter(_PERCENT)
    left.xaxis.set_minor_formatter(NullFormatter())
    _labelled(left, lines, at=0.28)
    _dots(right, methods, lambda one: one["capgr"], "cAPGR, 95% over seeds", limits["mix"]["capgr"], None)


def _at(points: Sequence[Sequence[float]], costs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    cost, quality = np.array(points).T
    return np.asarray(np.interp(costs, cost, quality), dtype=np.float64)


def _labelled(axes: Axes, lines: dict[str, Line], at: float) -> None:
    """Names beside the lines, at a column right of the axes, in their order at one place, and apart."""
    colours = {**_DRAWN, "oracle": ORANGE, "mix by lot": GREY}
    low, high = axes.get_ylim()
    gap = (high - low) * 0.065
    heights = {name: float(np.interp(at, x, y)) for name, (x, y) in lines.items()}
    ordered = sorted(heights, key=heights.__getitem__)
    places: list[float] = []
    for name in ordered:
        places.append(max(heights[name], places[-1] + gap) if places else heights[name])
    shift = (sum(heights.values()) - sum(places)) / len(places)
    for name, place in zip(ordered, places, strict=True):
        axes.annotate(
            name,
            xy=(at, heights[name]),
            xytext=(1.03, place + shift),
            xycoords="data",
            textcoords=axes.get_yaxis_transform(),
            color=colours[name],
            va="center",
            fontweight="bold" if kind(name) == "ours" else "normal",
            arrowprops={"arrowstyle": "-", "color": colours[name], "lw": 0.5, "alpha": 0.6},
        )


def _dots(
    axes: Axes,
    methods: dict[str, list[Figures]],
    pick: Callable[[Figures], float],
    label: str,
    blind: float,
    given: tuple[str, float] | None,
) -> None:
    """One row a router, the best on top, with its interval over seeds."""
    found = {name: mean_of(figures, pick) for name, figures in methods.items()}
    ordered = sorted(found, key=lambda name: found[name].estimate)
    for place, name in enumerate(ordered):
        one, colour = found[name], _BY_KIND[kind(name)]
        axes.plot([one.low, one.high], [place, place], color=colour, lw=1.5)
        axes.plot(one.estimate, place, "o", color=colour, ms=5)
    axes.set_yticks(range(len(ordered)), ordered)
    for tick, name in zip(axes.get_yticklabels(), ordered, strict=True):
        tick.set_color(_BY_KIND[kind(name)])
        tick.set_fontweight("bold" if kind(name) == "ours" else "normal")
    axes.axvline(blind, color=LIGHT, lw=1, ls="--")
    axes.text(blind, len(ordered) - 0.4, " mix by lot", color=GREY, va="bottom", ha="center", fontsize=8)
    if given:
        axes.axvline(given[1], color=ORANGE, lw=1, ls=":")
        axes.text(given[1], -0.9, "RouteLLM, published ", color=ORANGE, va="center", ha="right", fontsize=8)
        axes.set_ylim(-1.3, len(ordered) - 0.3)
    axes.set_xlabel(label)


def _verified(rows: Sequence[Row]) -> Figure | None:
    methods = figures_of(rows, "GSM8K, verified")
    if set(methods) != {"rules", "stellwerk"}:
        return None
    figure, axes = plt.subplots(figsize=(9, 5.2), layout="constrained")
    rules = methods["rules"][0]
    bought = sorted((n for n in rules if n.startswith("GPT-4")), key=lambda name: -rules[name]["right"])
    for name, one in rules.items():
        if name in bought:
            last = name == bought[-1]
            place = (one["cost"] + 0.015, one["right"]) if last else (0.62, 0.99 - 0.021 * bought.index(name))
            _pointed(axes, name, one, place)
            continue
        is_oracle, is_large = name.startswith("oracle"), one["cost"] > 0.7
        colour = ORANGE if is_oracle else GREY
        axes.plot(
            one["cost"], one["right"], "*" if is_oracle else "s", color=colour, ms=9 if is_oracle else 6
        )
        axes.annotate(
            name,
            (one["cost"], one["right"]),
            xytext=(-8 if is_large else 8, 12 if is_oracle else -2),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="center",
            ha="right" if is_large else "left",
        )
    curves: dict[str, list[tuple[float, float]]] = {}
    for name in methods["stellwerk"][0]:
        way, _, _ = name.rpartition(", ")
        curves.setdefault(way, []).append(
            (
                fmean(s[name]["cost"] for s in methods["stellwerk"]),
                fmean(s[name]["right"] for s in methods["stellwerk"]),
            )
        )
    places = ((0.045, 0.835), (0.31, 0.783), (0.005, 0.947))
    for (way, points), colour, place in zip(curves.items(), (BLUE, PURPLE, GREEN), places, strict=True):
        x, y = np.array(sorted(points)).T
        axes.plot(x, y, "o-", color=colour, lw=2, ms=4)
        axes.text(*place, way, color=colour, fontweight="bold")
    mixtral, gpt = rules["always mixtral-8x7b"], rules["always gpt-4-1106"]
    axes.plot([mixtral["cost"], 1.0], [mixtral["right"], gpt["right"]], color=LIGHT, ls="--", lw=1.2)
    axes.text(0.72, 0.785, "mix by lot", color=GREY, fontsize=8)
    axes.set(
        xlabel="cost of all calls, of always GPT-4",
        ylabel="share of right answers",
        xlim=(-0.02, 1.04),
        ylim=(0.49, 1.0),
    )
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.set_title("GSM8K: small models answer, and GPT-4 is bought where it pays")
    return figure


def _pointed(axes: Axes, name: str, one: Figures, place: tuple[float, float]) -> None:
    """A rule's mark, with its name at a free place."""
    axes.plot(one["cost"], one["right"], "^", color=RED, ms=6)
    axes.annotate(
        name,
        (one["cost"], one["right"]),
        xytext=place,
        fontsize=8,
        color=RED,
        va="center",
        arrowprops={"arrowstyle": "-", "color": RED, "lw": 0.5, "alpha": 0.6},
    )
