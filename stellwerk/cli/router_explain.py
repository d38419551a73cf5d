"""`stellwerk router explain`: what a router thinks of a subtask that was done, and what it would do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, plain
from stellwerk.cli.router_stores import Stores, finite, goal, stores
from stellwerk.errors import InputError

if TYPE_CHECKING:
    from stellwerk.routers.belief import Belief
    from stellwerk.routers.episode import Outcome
    from stellwerk.routers.model import RouterModel
    from stellwerk.routers.policy import Policy
    from stellwerk.trace import BareAttempt


def explain(
    trace: Annotated[
        str,
        typer.Argument(help="Id of one of its attempts; see: stellwerk traces list", show_default=False),
    ],
    *,
    version: Annotated[
        str | None,
        typer.Option("--router", help="Its version; the one that serves if not given, or the newest."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", help="Features and past subtasks to tell.", min=1)
    ] = 5,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Tell what a router expects of each tier for a subtask, why, and what it would do after each attempt."""
    with errors(), stores(database) as at:
        from stellwerk.graphs.learned import model_of, solved
        from stellwerk.routers.explanation import contributions, nearest
        from stellwerk.routers.traced import outcome

        attempts = _attempts(at, trace)
        stored = at.registry.find(version) if version else at.registry.in_state("active") or at.router(None)
        model = model_of(at.registry, stored)
        policy, _ = solved(at.registry, stored, model, goal(at.settings.router, card=stored.card))
        context = attempts[0]["context"]
        assert context is not None
        outcomes = [outcome(attempt) for attempt in attempts if attempt["tier"] in model.tiers]
        steps = _steps(model, policy, model.prior(context), outcomes)
        told = contributions(model, context, count)
        alike = nearest(model, context, count)
    if as_json:
        found = {
            "router": stored.version,
            "context": context,
            "steps": steps,
            "contributions": told,
            "neighbours": [
                {
                    "instruction": one.instruction,
                    "worker": one.worker,
                    "right": one.right,
                    "distance": one.distance,
                    "trace_ids": one.trace_ids,
                }
                for one in alike
            ],
        }
        typer.echo(json.dumps(finite(found), indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    from stellwerk.cli.render import one_line

    console = Console()
    instruction = one_line(context["instruction"], 200) or "(instruction not kept)"
    console.print(Text.assemble((f"{context['worker']}  ", "dim"), instruction))
    for step in steps:
        console.print(Text(f"{step['after']}: {step['would']}"))
        console.print(_tiers(step))
    for tier, features in told.items():
        moved = ", ".join(f"{one_line(name, 40)} {by:+.2f}" for name, by in features if abs(by) >= 0.005)
        console.print(Text.assemble((f"{plain(tier)} because of ", "dim"), moved or "nothing in particular"))
    for one in alike:
        right = ", ".join(f"{tier} {value:.2g}" for tier, value in one.right.items())
        said = one_line(one.instruction, 60) or one.id[:12]
        console.print(Text.assemble(("like ", "dim"), f"{said}  ", (f"right: {right}", "dim")))


def _attempts(at: Stores, trace: str) -> list[BareAttempt]:
    """The attempts at the subtask of one of them, in order.

    Raises:
        InputError: if there is no such attempt, or no context was kept.
    """
    from stellwerk.persistence import trace_units

    found = at.traces.database.read(lambda c: trace_units.find(c, trace, None))
    if not found or found[0].trace is None:
        raise InputError(f"no attempt has the id {trace!r}; see: stellwerk traces list")
    run = found[0].run_id.decode("utf-8", "surrogatepass")
    of_run = list(at.traces.bare_attempts(run_id=run, newest_first=False))
    this = next(one for one in of_run if one["trace_id"] == found[0].trace.hex())
    if this["context"] is None:
        raise InputError(f"attempt {trace} was stored by an older version, without what a router would see")
    same = [one for one in of_run if one["episode"] == this["episode"]]
    return sorted(same, key=lambda one: one["number"])


def _steps(
    model: RouterModel, policy: Policy, prior: Any, outcomes: Sequence[Outcome]
) -> list[dict[str, Any]]:
    """What is expected, and would be done, before the first attempt and after each."""
    steps = []
    for number in range(len(outcomes) + 1):
        seen = outcomes[:number]
        belief = model.belief(prior, seen)
        choice = policy.choose(belief, seen, model.tiers)
        if choice.tier is not None:
            would = f"would try {model.tiers[choice.tier]}"
        elif choice.serve is not None:
            would = f"would serve the answer of {seen[choice.serve].tier}"
        else:
            would = "would stop without an answer"
        steps.append({"after": _after(seen), "would": would, "tiers": _beliefs(model.tiers, belief)})
    return steps


def _after(seen: Sequence[Outcome]) -> str:
    if not seen:
        return "before the first attempt"
    told = [f"{one.tier} {'accepted' if one.accepted else f'rejected ({one.reason})'}" for one in seen]
    return f"after {', then '.join(told)}"


def _beliefs(tiers: Sequence[str], belief: Belief) -> dict[str, dict[str, float]]:
    return {
        tier: {
            "right": float(belief.right[place]),
            "accept": float(belief.accept[place]),
            "usd": float(belief.usd[place]),
            "seconds": float(belief.seconds[place]),
        }
        for place, tier in enumerate(tiers)
    }


def _tiers(step: dict[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("tier", "right", "accepted", "USD", "seconds"):
        table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
    for tier, belief in step["tiers"].items():
        table.add_row(
            Text(plain(tier)),
            f"{belief['right']:.3f}",
            f"{belief['accept']:.3f}",
            f"{belief['usd']:.3g}",
            f"{belief['seconds']:.3g}",
        )
    return table
