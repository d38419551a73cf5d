"""`stellwerk traces judge`: a large tier says of a sample of answers whether they are right."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import AsJson, Database, errors, existing_database, settings_of
from stellwerk.cli.status import status
from stellwerk.cli.times import Since, Until

if TYPE_CHECKING:
    from stellwerk.nodes.judge import Judged
    from stellwerk.routers.agreement import Agreement


def judge(
    *,
    share: Annotated[float, typer.Option("--share", help="Of the accepted answers, from 0 to 1.")] = 0.1,
    usd: Annotated[
        float | None, typer.Option("--usd", help="What it may cost at most.", show_default=False)
    ] = None,
    tier: Annotated[
        str | None, typer.Option("--tier", help="That judges; the largest if not given.", show_default=False)
    ] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Let a large tier judge a sample of answers; none is judged twice, so it can be broken off.

    What it says becomes a label that counts as far as it agrees with people: judge some answers yourself too.
    """
    with errors():
        from stellwerk.graphs.default import default_ladder
        from stellwerk.nodes.judge import Judge
        from stellwerk.persistence.traces import TraceStore

        url = existing_database(database)
        ladder = default_ladder(settings_of(database))
        judging = Judge(tier=ladder.tier(tier) if tier else ladder.largest, share=share, usd=usd)
        with TraceStore.from_url(url) as store, status(f"{judging.tier.name} judges") as say:
            done = judging.run(store, since=since, until=until, tell=lambda judged: say(_so_far(judged)))
            agreement = judging.agreement(store)
    if as_json:
        typer.echo(json.dumps({**asdict(done), "agreement": _plain(agreement)}, indent=2))
        return
    typer.echo(_so_far(done) + _cost(done))
    for count, what in (
        (done.before, "of the sample judged before"),
        (done.unsaid, "replies could not be read"),
        (done.too_long, "jobs are too long for it"),
        (done.unreadable, "answers are not stored in full"),
    ):
        if count:
            typer.echo(f"{count:,} {what}")
    if done.spent:
        typer.echo("stopped for its budget; run it again to go on")
    typer.echo(agreement_line(agreement))


def agreement_line(agreement: Agreement) -> str:
    """How a judge agrees with people, in a sentence."""
    if not agreement.pairs:
        return "its agreement with people is unknown: no answer was judged by both"
    low, high = agreement.interval()
    kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
    return (
        f"agrees with people in {agreement.agreed:,} of {agreement.pairs:,} answers "
        f"({low:.2f} to {high:.2f} at 95 %{kappa})"
    )


def _so_far(done: Judged) -> str:
    return f"{done.right + done.wrong:,} judged: {done.right:,} right, {done.wrong:,} wrong"


def _cost(done: Judged) -> str:
    return "" if done.usd is None else f"; {done.usd:.4f} USD"


def _plain(agreement: Agreement) -> dict[str, Any]:
    low, high = agreement.interval()
    return {
        **asdict(agreement),
        "pairs": agreement.pairs,
        "agreed": agreement.agreed,
        "kappa": agreement.kappa,
        "interval": [low, high],
    }
