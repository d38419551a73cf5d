"""`stellwerk router evaluate`, `compare`, `promote`: how a router would have done on traces new to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors
from stellwerk.cli.router_stores import (
    Confidence,
    QualityFloor,
    Stores,
    UsdPerFailure,
    UsdPerSubtask,
    Version,
    Who,
    Why,
    finite,
    goal,
    me,
    stores,
)
from stellwerk.cli.status import status
from stellwerk.errors import InputError, StellwerkError

if TYPE_CHECKING:
    from rich.console import Console

    from stellwerk.persistence.router_units import StoredRouter
    from stellwerk.routers.comparison import Comparison, Contender
    from stellwerk.routers.goal import Goal
    from stellwerk.routers.offline import Estimate, Evaluation

Margin = Annotated[
    float, typer.Option("--margin", help="By how much less often it may be right, from 0 to 1.")
]
SMALLEST_FIRST = "smallest-first"


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate, what it stands beside, and what came of it."""

    candidate: StoredRouter
    current: StoredRouter | None
    goal: Goal
    evidence: Mapping[str, Any]
    found: Comparison

    @property
    def better(self) -> bool:
        """Whether it may serve: no worse within the margin and cheaper, or right more often; both proven."""
        known = self.found.candidate.covered and self.found.current.covered
        return self.found.promote or (known and self.found.right.low > 0)

    @property
    def why(self) -> str:
        """In a sentence."""
        right, usd = self.found.right, self.found.usd
        if self.better and not self.found.promote:
            return (
                f"right more often by {right.low:.3f} at least, for {usd.mean:+.3g} USD a subtask "
                f"({usd.low:+.3g} to {usd.high:+.3g})"
            )
        return self.found.why.partition(": ")[2]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        from stellwerk.graphs.goals import goal_record

        told: dict[str, Any] = finite(
            {
                "candidate": self.candidate.version,
                "current": self.current.version if self.current else SMALLEST_FIRST,
                "goal": goal_record(self.goal),
                "floor": self.evidence,
                "better": self.better,
                "why": self.why,
                "comparison": asdict(self.found),
            }
        )
        return told


def evaluate(
    version: Version = None,
    *,
    quality_floor: QualityFloor = None,
    confidence: Confidence = None,
    usd_per_failure: UsdPerFailure = None,
    usd_per_subtask: UsdPerSubtask = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Tell how a router would have done on traces that came after those it was trained on."""
    with errors(), stores(database) as at:
        from stellwerk.graphs.drift import fresh
        from stellwerk.graphs.goals import goal_record, goal_text
        from stellwerk.routers.offline import evaluate as evaluate_policy

        stored = at.router(version)
        chosen = goal(
            at.settings.router,
            quality_floor=quality_floor,
            confidence=confidence,
            usd_per_failure=usd_per_failure,
            usd_per_subtask=usd_per_subtask,
            card=stored.card,
        )
        with status("reading the traces"):
            traced = fresh(at.traces, [stored])
        with status(f"replaying {len(traced.episodes):,} subtasks"):
            contender, evidence = _contender(at, stored, chosen)
            found = evaluate_policy(contender.model, contender.policy, traced.episodes)
    if as_json:
        told = {"router": stored.version, "goal": goal_record(chosen), "floor": evidence, **asdict(found)}
        typer.echo(json.dumps(finite(told), indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(f"router {stored.version[:12]} for {goal_text(goal_record(chosen))}"))
    console.print(_methods(found))
    for line in _reach(found):
        console.print(Text(line))
    _notice_floor(console, evidence)


def compare(
    version: Version = None,
    *,
    beside: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="VERSION",
            help="The other router; the one that serves if not given, or the smallest tier first.",
            show_default=False,
        ),
    ] = None,
    margin: Margin = 0.02,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Set a router beside the one that serves, on traces that neither was trained on."""
    with errors(), stores(database) as at:
        stored = at.router(version)
        other = at.registry.find(beside) if beside is not None else at.registry.in_state("active")
        compared = _compared(at, stored, other, margin)
    if as_json:
        typer.echo(json.dumps(compared.record(), indent=2))
        return
    _print_comparison(compared)


def promote(
    version: Version = None,
    *,
    why: Why = None,
    who: Who = None,
    margin: Margin = 0.02,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever the evaluation says; takes --why.")
    ] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Let a router serve, if traces that it has not seen say that it is no worse than the one that does.

    That is: right no less often but for the margin, and cheaper; or right more often. Both at 95 %.
    """
    from stellwerk.cli.router import told

    with errors(), stores(database) as at:
        if force and not (why or "").strip():
            raise InputError("--force takes a reason for the history: --why '...'")
        stored = at.router(version)
        if stored.state == "active":
            raise InputError(f"router {stored.version[:12]} serves already")
        evidence: dict[str, Any] = {"forced": force}
        compared = None
        try:
            compared = _compared(at, stored, at.registry.in_state("active"), margin)
            evidence |= compared.record()
        except InputError as error:
            if not force:
                raise
            evidence["refused"] = str(error)
        if compared is not None and not as_json:
            _print_comparison(compared)
        if compared is not None and not compared.better and not force:
            raise StellwerkError(
                f"router {stored.version[:12]} is not promoted: {compared.why}; to do it all the same: "
                "--force --why '...'"
            )
        reason = why or (compared.why if compared is not None else "")
        move = at.registry.promote(stored.version, who=me(who), why=reason, evidence=evidence)
    told(move, as_json=as_json)
    if at.settings.router.name != "learned":
        from stellwerk.graphs.goals import goal_record, goal_setting

        wanted = goal_setting(goal_record(goal(at.settings.router, card=stored.card)))
        typer.echo(f'runs ask it if the settings say, under [router]: name = "learned", {wanted}', err=True)


def _compared(at: Stores, stored: StoredRouter, other: StoredRouter | None, margin: float) -> Compared:
    from stellwerk.graphs.drift import fresh
    from stellwerk.routers.comparison import Contender
    from stellwerk.routers.comparison import compare as compare_policies
    from stellwerk.routers.policy import CHEAPEST

    if other is not None and other.version == stored.version:
        raise InputError(f"router {stored.version[:12]} is the one that serves; name another")
    chosen = goal(at.settings.router, card=stored.card)
    with status("reading the traces"):
        traced = fresh(at.traces, [stored] if other is None else [stored, other])
    with status(f"replaying {len(traced.episodes):,} subtasks"):
        candidate, evidence = _contender(at, stored, chosen)
        if other is None:
            current = Contender(candidate.model, replace(CHEAPEST, cascade_only=True))
        else:
            current, _ = _contender(at, other, chosen)
        found = compare_policies(candidate, current, traced.episodes, margin=margin)
    return Compared(stored, other, chosen, evidence, found)


def _contender(at: Stores, stored: StoredRouter, chosen: Goal) -> tuple[Contender, Mapping[str, Any]]:
    from stellwerk.graphs.learned import model_of, solved
    from stellwerk.routers.comparison import Contender

    model = model_of(at.registry, stored)
    policy, evidence = solved(at.registry, stored, model, chosen)
    return Contender(model, policy), evidence


def _methods(found: Evaluation) -> Any:
    table = _table("estimate", "95 %")
    names = {"ips": "IPS", "snips": "IPS, self-normalised", "dr": "doubly robust"}
    for method, name in names.items():
        table.add_row(name, _share(found.right[method]), _shown(_thousand(found.usd[method])))
    return table


def _reach(found: Evaluation) -> list[str]:
    lines = [
        f"{found.matching:,} of {found.episodes:,} subtasks went as it would have gone; "
        f"they weigh as {found.effective:.0f}, with a mean weight of {found.overlap:.2f}"
    ]
    if found.unlabelled:
        lines.append(
            f"of {found.unlabelled:,} nobody says whether their answer is right; labelled ones stand for them"
        )
    if not found.covered:
        lines.append(f"not to be relied on: {found.why}")
    return lines


def _print_comparison(compared: Compared) -> None:
    from rich.console import Console
    from rich.text import Text

    from stellwerk.graphs.goals import goal_record, goal_text

    found = compared.found
    table = _table("doubly robust", "90 %")
    other = compared.current.version[:12] if compared.current else SMALLEST_FIRST
    for name, alone in ((compared.candidate.version[:12], found.candidate), (other, found.current)):
        table.add_row(Text(name), _share(alone.right["dr"]), _shown(_thousand(alone.usd["dr"])))
    table.add_row("difference", _shown(found.right, "+"), _shown(_thousand(found.usd), "+"))
    console = Console()
    console.print(Text(f"both for {goal_text(goal_record(compared.goal))}"))
    console.print(table)
    style, word = ("green", "better: ") if compared.better else ("yellow", "not shown to be better: ")
    console.print(Text.assemble((word, style), compared.why))
    _notice_floor(console, compared.evidence)


def _notice_floor(console: Console, evidence: Mapping[str, Any]) -> None:
    from rich.text import Text

    if not evidence["met"]:
        console.print(Text.assemble(("the goal is not met: ", "yellow"), evidence["why"]))


def _table(first: str, interval: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    table.add_column(f"right ({interval})", justify="right", no_wrap=True)
    table.add_column(f"USD per 1,000 ({interval})", justify="right", no_wrap=True)
    return table


def _thousand(usd: Estimate) -> Estimate:
    return replace(usd, mean=1000 * usd.mean, low=1000 * usd.low, high=1000 * usd.high)


def _share(estimate: Estimate) -> str:
    mean = min(max(estimate.mean, 0.0), 1.0) if math.isfinite(estimate.mean) else estimate.mean
    return _shown(replace(estimate, mean=mean, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0)))


def _shown(estimate: Estimate, sign: str = "") -> str:
    if not math.isfinite(estimate.mean):
        return "–"
    form = f"{sign}.3f" if abs(estimate.mean) < 10 else f"{sign},.4g"
    return f"{estimate.mean:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"
