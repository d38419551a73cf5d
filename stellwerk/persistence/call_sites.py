"""What each call site costs: the sums of its traces, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Integer, cast, func, select

from stellwerk.persistence.schema.columns import text
from stellwerk.persistence.schema.traces import attempts
from stellwerk.persistence.trace_units import between


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSite:
    """The traces of a call site on one tier.

    Args:
        call_site: the worker, or the node of a foreign program.
        tier: where they ran; of a foreign program, the name of the model.
        calls: how many there are.
        accepted: of which the checks took the answer, or which gave one.
        input: tokens read.
        output: tokens written.
        usd: what those cost that have a price.
        unpriced: how many have none.
        seconds: of the models' time.
        newest: when the last one ended.
    """

    call_site: str
    tier: str
    calls: int
    accepted: int
    input: int
    output: int
    usd: float
    unpriced: int
    seconds: float
    newest: datetime


def call_sites(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> list[CallSite]:
    """All call sites by tier, the dearest first; `until` is not included."""
    c = attempts.c
    query = (
        select(
            c.worker,
            c.tier,
            func.count(),
            func.sum(cast(c.accepted, Integer)),
            func.sum(c.input),
            func.sum(c.output),
            func.sum(c.usd),
            func.count(c.usd),
            func.sum(c.seconds),
            func.max(c.created_at),
        )
        .where(*between(c.created_at, since, until))
        .group_by(c.worker, c.tier)
    )
    found = [
        CallSite(
            call_site=text(bytes(row[0])),
            tier=text(bytes(row[1])),
            calls=row[2],
            accepted=int(row[3] or 0),
            input=int(row[4]),
            output=int(row[5]),
            usd=float(row[6] or 0.0),
            unpriced=row[2] - row[7],
            seconds=float(row[8]),
            newest=row[9],
        )
        for row in connection.execute(query)
    ]
    return sorted(found, key=lambda site: (-site.usd, -site.calls, site.call_site, site.tier))
