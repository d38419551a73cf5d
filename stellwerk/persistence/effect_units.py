"""What the journal of side effects does to the database, each a function of a connection.

Moments are compared by the database's clock, as those of leases are. A claim is known by its id, so that
a unit that is run again finds what it did the first time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence.clock import from_now, now
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.schema.checkpoints import checkpoints
from stellwerk.persistence.schema.columns import microseconds
from stellwerk.persistence.schema.effects import effects

State = Literal["running", "done", "unknown"]
Stored = tuple[str, bytes]
"""A value as a serializer wrote it: its type, and its bytes."""

c = effects.c
_THIS = c.effect == bindparam("effect_")
_MINE = and_(_THIS, c.claim == bindparam("claim_"))
_LOOK = select(effects, (c.expires_at > now()).label("live")).where(_THIS)
# Of whom nobody knows what came: a claimant that said so, or one that has not renewed its claim.
_OPEN = or_(c.state == "unknown", and_(c.state == "running", c.expires_at <= now()))
_TAKE = (
    update(effects)
    .where(_MINE, _OPEN)
    .values(
        state="running",
        claim=bindparam("new_"),
        holder=bindparam("holder_"),
        begun_at=now(),
        expires_at=from_now("ttl_"),
    )
)
_END = (
    update(effects)
    .where(_MINE, c.state.in_(("running", "unknown")))
    .values(
        state="done",
        ended_at=now(),
        outcome_type=bindparam("type_"),
        outcome=bindparam("outcome_"),
    )
)
_UNDO = delete(effects).where(_MINE, c.state != "done")
_DOUBT = update(effects).where(_MINE, c.state == "running").values(state="unknown")
_RENEW = (
    update(effects)
    .where(_MINE, c.state == "running", c.expires_at > now())
    .values(expires_at=from_now("ttl_"))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A write that somebody wants to make, as it is stored."""

    effect: bytes
    claim: bytes
    again: bytes | None
    thread: bytes
    thread_id: bytes
    subtask: str
    tool: str
    holder: str
    args: Stored
    ttl: float  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Where a write stands; `live` is whether the claim of whoever makes it is good."""

    state: State
    claim: bytes
    live: bool
    begun_at: datetime
    outcome: Stored | None


def begin(connection: Connection, wanted: Wanted) -> Found:
    """Claim a write, unless somebody has."""
    ttl = round(wanted.ttl * 1e6)
    fresh = insert_or_keep(connection.dialect.name, effects).values(
        effect=wanted.effect,
        thread=wanted.thread,
        thread_id=wanted.thread_id,
        subtask=wanted.subtask,
        tool=wanted.tool,
        state="running",
        claim=wanted.claim,
        holder=wanted.holder,
        begun_at=now(),
        expires_at=from_now("ttl_"),
        args_type=wanted.args[0],
        args=wanted.args[1],
    )
    connection.execute(fresh, {"ttl_": ttl})
    if wanted.again is not None:
        own = {"effect_": wanted.effect, "claim_": wanted.again, "new_": wanted.claim}
        connection.execute(_TAKE, {**own, "holder_": wanted.holder, "ttl_": ttl})
    row: Any = connection.execute(_LOOK, {"effect_": wanted.effect}).one_or_none()
    if row is None:  # undone by its holder since a moment ago
        return Found(state="running", claim=b"", live=True, begun_at=datetime.min, outcome=None)
    stored = None if row.outcome is None else (row.outcome_type, bytes(row.outcome))
    return Found(
        state=row.state,
        claim=bytes(row.claim),
        live=bool(row.live),
        begun_at=row.begun_at,
        outcome=stored,
    )


def end(connection: Connection, effect: bytes, claim: bytes, outcome: Stored) -> bool:
    """Keep what came of a write; False if another has claimed it."""
    mine = {"effect_": effect, "claim_": claim}
    told = {**mine, "type_": outcome[0], "outcome_": outcome[1]}
    if connection.execute(_END, told).rowcount:
        return True
    query = select(c.effect).where(_MINE, c.state == "done")  # an earlier try did it
    return connection.execute(query, mine).first() is not None


def undo(connection: Connection, effect: bytes, claim: bytes) -> None:
    """It was not done."""
    connection.execute(_UNDO, {"effect_": effect, "claim_": claim})


def doubt(connection: Connection, effect: bytes, claim: bytes) -> None:
    """Nobody knows."""
    connection.execute(_DOUBT, {"effect_": effect, "claim_": claim})


def renew(connection: Connection, held: Sequence[tuple[bytes, bytes]], ttl: float) -> None:
    """The claims are good for so many seconds from now, unless they have expired."""
    for effect, claim in held:
        connection.execute(_RENEW, {"effect_": effect, "claim_": claim, "ttl_": round(ttl * 1e6)})


def count_older(connection: Connection, before: datetime, *, keep_threads: bool) -> int:
    """How many `delete_older` would delete."""
    query = select(func.count()).select_from(effects).where(_old(before, keep_threads))
    return int(connection.execute(query).scalar_one())


def delete_older(connection: Connection, before: datetime, limit: int, *, keep_threads: bool) -> int:
    """Delete writes that were begun before a moment; not those of threads that may still come upon them.

    Args:
        connection: to the database.
        before: the moment.
        limit: so many at once.
        keep_threads: whether every thread may that has a checkpoint, and not only one with a newer one.
    """
    old = select(c.effect).where(_old(before, keep_threads)).order_by(c.begun_at).limit(limit)
    names = connection.execute(old).scalars().all()
    return connection.execute(delete(effects).where(c.effect.in_(names))).rowcount if names else 0


def _old(before: datetime, keep_threads: bool) -> ColumnElement[bool]:
    going_on = select(checkpoints.c.thread).where(checkpoints.c.thread == c.thread)
    if not keep_threads:
        going_on = going_on.where(checkpoints.c.saved_at >= microseconds(before))
    live = and_(c.state == "running", c.expires_at > now())
    return and_(c.begun_at < before, ~live, ~going_on.exists())
