"""What the card of a router looks like in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from stellwerk.cli.render import one_line, plain
from stellwerk.graphs.goals import goal_text
from stellwerk.persistence.router_units import StoredRouter


def card_view(router: StoredRouter) -> Iterator[RenderableType]:
    """The card: what it was trained on, its figures by tier, what the goal comes to, its limits."""
    card = router.card
    yield _facts(router)
    yield _tiers(card.get("tiers", {}))
    yield _goal(card)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True, min_width=len("trained on"))
    grid.add_column(overflow="fold")
    return grid


def _facts(router: StoredRouter) -> Table:
    card = router.card
    trained, traces = card.get("trained_on", {}), card.get("traces", {})
    facts = _grid()
    facts.add_row("router", f"{router.version[:12]}  {router.state}  {router.size / 1e6:.1f} MB")
    window = f", {trained['from']} to {trained['to']}" if trained.get("from") else ""
    facts.add_row("trained on", f"{trained.get('episodes', 0):,} subtasks{window}")
    measured = card.get("measured_on", {})
    if measured.get("held_out"):
        facts.add_row("held out", f"{measured['episodes']:,} subtasks, to set the goal on")
    if card.get("held_back"):
        facts.add_row("held back", f"the newest {card['held_back']:,} subtasks, to judge it by")
    if traces:
        labels = ", ".join(f"{count:,} {source}" for source, count in traces["labels"].items()) or "none"
        facts.add_row("labels", f"{labels} in all; {traces['unlabelled']:,} accepted answers without one")
        for source, count in traces["overruled"].items():
            facts.add_row("", f"{count:,} of {source} overruled by a stronger source")
        if traces["unread_feedback"]:
            facts.add_row("", f"{traces['unread_feedback']:,} opinions say neither right nor wrong")
        if traces["labels"].get("judge"):
            facts.add_row("judge", _judge(traces["judge"]))
        if traces["left_out"]:
            facts.add_row("left out", f"{traces['left_out']:,} attempts without context")
    return facts


def _judge(judge: Mapping[str, Any]) -> str:
    if not judge["pairs"]:
        return f"counts {judge['weight']:.2f}; its agreement with people is unknown"
    kappa = "" if judge["kappa"] is None else f", kappa {judge['kappa']:.2f}"
    return f"counts {judge['weight']:.2f}; agrees in {judge['agreed']:,} of {judge['pairs']:,}{kappa}"


def _tiers(tiers: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("tier", "traces", "accepted", "labels", "right", "AUC", "Brier", "ECE"):
        table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
    for name, tier in tiers.items():
        right = tier["right"]
        labels = sum(count for source, count in tier["labels"].items() if source not in ("none", "check"))
        accepted = f"{tier['accepted'] / tier['outcomes']:.0%}" if tier["outcomes"] else "–"
        table.add_row(
            Text(plain(name)),
            f"{tier['outcomes']:,}",
            accepted,
            f"{labels:,}",
            *(_figure(right[figure]) for figure in ("mean", "auc", "brier", "calibration_error")),
        )
    return table


def _goal(card: Mapping[str, Any]) -> Table:
    facts = _grid()
    facts.add_row("goal", goal_text(card["goal"]))
    evidence = card.get("evidence")
    if evidence is None:
        facts.add_row(Text("refused", "red"), one_line(card["refused"]))
    else:
        word = Text("met", "green") if evidence["met"] else Text("not met", "yellow")
        facts.add_row(word, one_line(evidence["why"]))
        usd, largest = evidence["usd"], evidence["usd_largest"]
        if usd is not None and largest:
            facts.add_row("costs", f"{usd:.4g} USD a subtask; all on the largest tier {largest:.4g} USD")
    for limit in card.get("limits", ()):
        facts.add_row(Text("limit", "yellow"), one_line(limit))
    return facts


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
