"""What the registry of routers does to the database, each a function of a connection.

Those that change which router serves lock the rows of all routers first, so that there is one at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, delete, func, select, update

from stellwerk.errors import InputError, UntrustedDataError
from stellwerk.persistence import json_value
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.schema.columns import key, text
from stellwerk.persistence.schema.routers import moves, parts, routers

Row = Any  # of SQLAlchemy's; its columns are those of the statement

State = Literal["candidate", "shadow", "active", "retired"]
STATES: tuple[State, ...] = get_args(State)
Kind = Literal["promote", "shadow", "retire", "rollback"]

_PART = 1 << 20  # bytes
_TOLD = [routers.c[name] for name in ("version", "size", "card", "state", "created_at")]


@dataclass(frozen=True, slots=True)
class StoredRouter:
    """A router of the registry.

    Args:
        version: digest of its content.
        state: `active` is the one that serves, `shadow` the one that decides beside it.
        card: what it was trained on, and how good it was found.
        size: of its file, in bytes.
        created_at: when it was added.
    """

    version: str
    state: State
    card: dict[str, Any]
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """A change of what a router is used for.

    Args:
        number: counts up.
        kind: what was done.
        version: of the router that came; None where none did.
        replaced: the one that it took the place of, or that went; None where there was none.
        who: did it.
        why: in words.
        evidence: what it was decided on, as JSON; None if on nothing.
        moved_at: when.
    """

    number: int
    kind: Kind
    version: str | None
    replaced: str | None
    who: str
    why: str
    evidence: dict[str, Any] | None
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a router is moved, and by whom."""

    who: str
    why: str
    evidence: Mapping[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """Its columns.

        Raises:
            InputError: if nobody is named, no reason is given, or the evidence is no JSON.
        """
        for name, said in (("who", self.who), ("why", self.why)):
            if not said.strip():
                raise InputError(f"{name} is blank; the history has to say it")
        evidence = None
        if self.evidence is not None:
            evidence = json_value.dump(json_value.plain(self.evidence, "the evidence"), "the evidence")
        return {"who": self.who, "why": self.why, "evidence": evidence}


def add(connection: Connection, version: str, file: bytes, card: Mapping[str, Any]) -> StoredRouter:
    """Add a router as a candidate; one that is there already stays as it is."""
    row = {
        "version": key("version", version),
        "sha256": hashlib.sha256(file).digest(),
        "size": len(file),
        "card": json_value.dump(json_value.plain(card, "the card"), "the card"),
        "state": "candidate",
        "created_at": datetime.now(UTC),
    }
    dialect = connection.dialect.name
    for number, start in enumerate(range(0, len(file), _PART)):
        part = {"version": row["version"], "part": number, "data": file[start : start + _PART]}
        connection.execute(insert_or_keep(dialect, parts), part)
    connection.execute(insert_or_keep(dialect, routers), row)
    found = get(connection, version)
    assert found is not None
    return found


def get(connection: Connection, version: str) -> StoredRouter | None:
    """The router of that version."""
    row = connection.execute(select(*_TOLD).where(routers.c.version == key("version", version))).first()
    return None if row is None else _router(row)


def find(connection: Connection, beginning: str) -> StoredRouter:
    """The router whose version begins so.

    Raises:
        InputError: if there is none, or more than one.
    """
    start = beginning.encode("utf-8", "surrogatepass")
    query = select(*_TOLD).where(routers.c.version >= start, routers.c.version < start + b"\xff")
    rows = connection.execute(query.order_by(routers.c.version).limit(2)).all()
    if not beginning or not rows:
        raise InputError(f"there is no router of version {beginning!r}; see: stellwerk router list")
    if len(rows) > 1:
        names = " and ".join(text(row.version) for row in rows)
        raise InputError(
            f"several routers' versions begin with {beginning!r}, such as {names}; give more of it"
        )
    return _router(rows[0])


def in_state(connection: Connection, state: State) -> StoredRouter | None:
    """The newest router in a state; of `active` and `shadow` there is one at most."""
    query = select(*_TOLD).where(routers.c.state == state).order_by(routers.c.created_at.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _router(row)


def every(connection: Connection) -> list[StoredRouter]:
    """All routers, newest first."""
    query = select(*_TOLD).order_by(routers.c.created_at.desc(), routers.c.version)
    return [_router(row) for row in connection.execute(query)]


def load(connection: Connection, version: str) -> bytes:
    """The file of a router.

    Raises:
        InputError: if there is no such router.
        UntrustedDataError: if the file is not the one that was added.
    """
    name = key("version", version)
    digest = connection.execute(select(routers.c.sha256).where(routers.c.version == name)).scalar()
    if digest is None:
        raise InputError(f"there is no router of version {version!r}; see: stellwerk router list")
    query = select(parts.c.data).where(parts.c.version == name).order_by(parts.c.part)
    file = b"".join(bytes(data) for data in connection.execute(query).scalars())
    if hashlib.sha256(file).digest() != bytes(digest):
        raise UntrustedDataError(
            f"the file of router {version} is not the one that was added: its digest does not match; "
            "roll back, or train it again"
        )
    return file


def promote(connection: Connection, version: str, reason: Reason) -> Move:
    """Make a router the one that serves."""
    states = _locked(connection)
    before = _one(states, "active")
    if before == version:
        raise InputError(f"router {version} is the active one already")
    _require(states, version)
    if before is not None:
        _set(connection, before, "retired")
    _set(connection, version, "active")
    return _note(connection, "promote", version, before, reason)


def shadow(connection: Connection, version: str, reason: Reason) -> Move:
    """Let a router decide beside the active one."""
    states = _locked(connection)
    _require(states, version)
    if states[version] == "active":
        raise InputError(
            f"router {version} is the active one, and no shadow of itself; promote another first"
        )
    before = _one(states, "shadow")
    if before == version:
        raise InputError(f"router {version} is in the shadow already")
    if before is not None:
        _set(connection, before, "candidate")
    _set(connection, version, "shadow")
    return _note(connection, "shadow", version, before, reason)


def retire(connection: Connection, version: str, reason: Reason) -> Move:
    """Take a router out of use."""
    states = _locked(connection)
    _require(states, version)
    if states[version] == "retired":
        raise InputError(f"router {version} is retired already")
    _set(connection, version, "retired")
    return _note(connection, "retire", None, version, reason)


def rollback(connection: Connection, reason: Reason) -> Move:
    """Go back to the router that the active one took the place of, or to none if there was none."""
    states = _locked(connection)
    active = _one(states, "active")
    if active is None:
        raise InputError("no router is active, so that there is nothing to roll back")
    query = select(moves.c.replaced).where(
        moves.c.kind == "promote", moves.c.version == key("version", active)
    )
    stored = connection.execute(query.order_by(moves.c.move.desc()).limit(1)).scalar()
    before = None if stored is None else text(bytes(stored))
    if before is not None and before not in states:
        raise InputError(
            f"router {before}, which served before, was deleted; promote another, or retire the active one: "
            f"stellwerk router retire {active[:12]} --why '...'"
        )
    _set(connection, active, "retired")
    if before is not None:
        _set(connection, before, "active")
    return _note(connection, "rollback", before, active, reason)


def describe(connection: Connection, version: str, card: Mapping[str, Any]) -> None:
    """Put another card in the place of a router's."""
    told = json_value.dump(json_value.plain(card, "the card"), "the card")
    done = connection.execute(
        update(routers).where(routers.c.version == key("version", version)).values(card=told)
    )
    if not done.rowcount and get(connection, version) is None:  # MySQL counts no row that stays as it is
        raise InputError(f"there is no router of version {version!r}; see: stellwerk router list")


def discard(connection: Connection, version: str) -> None:
    """Delete a router that is not in use; its history stays."""
    states = _locked(connection)
    _require(states, version)
    if states[version] in ("active", "shadow"):
        raise InputError(f"router {version} is {states[version]}; retire it first")
    name = key("version", version)
    connection.execute(delete(parts).where(parts.c.version == name))
    connection.execute(delete(routers).where(routers.c.version == name))


def history(connection: Connection, version: str | None, limit: int | None) -> list[Move]:
    """Moves, newest first; of one router, or of all."""
    query = select(moves).order_by(moves.c.move.desc()).limit(limit)
    if version is not None:
        name = key("version", version)
        query = query.where((moves.c.version == name) | (moves.c.replaced == name))
    return [_move(row) for row in connection.execute(query)]


def _locked(connection: Connection) -> dict[str, State]:
    query = select(routers.c.version, routers.c.state).order_by(routers.c.version).with_for_update()
    return {text(bytes(row.version)): row.state for row in connection.execute(query)}


def _one(states: Mapping[str, State], state: State) -> str | None:
    return next((version for version, found in states.items() if found == state), None)


def _require(states: Mapping[str, State], version: str) -> None:
    if version not in states:
        raise InputError(f"there is no router of version {version!r}; see: stellwerk router list")


def _set(connection: Connection, version: str, state: State) -> None:
    name = key("version", version)
    connection.execute(update(routers).where(routers.c.version == name).values(state=state))


def _note(
    connection: Connection, kind: Kind, version: str | None, replaced: str | None, reason: Reason
) -> Move:
    number = (connection.execute(select(func.max(moves.c.move))).scalar() or 0) + 1
    row = {
        "move": number,
        "kind": kind,
        "version": None if version is None else key("version", version),
        "replaced": None if replaced is None else key("version", replaced),
        "moved_at": datetime.now(UTC),
        **reason.row(),
    }
    connection.execute(moves.insert(), row)
    return _move(connection.execute(select(moves).where(moves.c.move == number)).one())


def _router(row: Row) -> StoredRouter:
    return StoredRouter(text(bytes(row.version)), row.state, json.loads(row.card), row.size, row.created_at)


def _move(row: Row) -> Move:
    return Move(
        number=row.move,
        kind=row.kind,
        version=None if row.version is None else text(bytes(row.version)),
        replaced=None if row.replaced is None else text(bytes(row.replaced)),
        who=row.who,
        why=row.why,
        evidence=None if row.evidence is None else json.loads(row.evidence),
        moved_at=row.moved_at,
    )
