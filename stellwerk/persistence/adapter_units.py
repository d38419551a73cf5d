"""What adapters and moves of clusters do to the database, each a function of a connection.

Whoever moves a cluster locks the clusterings first, so that moves have one order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, func, select, update

from stellwerk.errors import InputError
from stellwerk.persistence import json_value
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.router_units import Reason
from stellwerk.persistence.schema.columns import key, text
from stellwerk.persistence.schema.conversion import adapters, clusterings, clusters, moves

Row = Any  # of SQLAlchemy's; its columns are those of the statement

AdapterState = Literal["candidate", "active", "retired"]
ADAPTER_STATES: tuple[AdapterState, ...] = get_args(AdapterState)
MoveKind = Literal["shadow", "canary", "serve", "rollback"]
MOVE_KINDS: tuple[MoveKind, ...] = get_args(MoveKind)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAdapter:
    """A LoRA adapter that was trained for a cluster.

    Args:
        name: `cluster@version`.
        cluster: id of the cluster.
        base: the model that it goes with.
        path: where its files are.
        sha256: of its weights, 64 hexadecimal digits.
        dataset: that it was trained on.
        card: how it was trained, and how good it was found, as JSON.
        state: `active` where it may serve.
        forgot_at: since when it is to be trained again, as somebody was forgotten whose examples it has seen.
        created_at: when it was added.
    """

    name: str
    cluster: str
    base: str
    path: str
    sha256: str
    dataset: str
    card: dict[str, Any]
    state: AdapterState = "candidate"
    forgot_at: datetime | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClusterMove:
    """A change of what serves a cluster.

    Args:
        number: counts up.
        cluster: id of it.
        kind: `shadow`, `canary`, `serve` or `rollback`.
        served: what serves the rest, and all of it before; None for the large tier.
        serves: what it is about: a tier, or an adapter.
        share: of the cluster's calls that this one answers, from 0 to 1.
        evidence: what it was decided on, as JSON; None if on nothing.
        who: did it.
        why: in words.
        moved_at: when.
    """

    number: int
    cluster: str
    kind: MoveKind
    served: str | None
    serves: str
    share: float
    evidence: dict[str, Any] | None
    who: str
    why: str
    moved_at: datetime


def add(
    connection: Connection,
    name: str,
    *,
    base: str,
    path: str,
    sha256: str,
    dataset: str,
    card: Mapping[str, Any],
) -> StoredAdapter:
    """Add an adapter as a candidate; one of that name which is there already stays as it is."""
    cluster, at, version = name.rpartition("@")
    if not (cluster and at and version):
        raise InputError(f"the adapter's name is {name!r}; give cluster@version")
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InputError(f"the sha256 of adapter {name} is {sha256!r}; give 64 hexadecimal digits")
    row = {
        "adapter": key("adapter", name),
        "cluster": key("cluster", cluster),
        "base": base,
        "path": path,
        "sha256": digest,
        "dataset": key("dataset", dataset),
        "card": json_value.dump(json_value.plain(card, "the card"), "the card"),
        "state": "candidate",
        "created_at": datetime.now(UTC),
    }
    connection.execute(insert_or_keep(connection.dialect.name, adapters), row)
    return get(connection, name)


def get(connection: Connection, name: str) -> StoredAdapter:
    """The adapter of a name."""
    row = connection.execute(select(adapters).where(adapters.c.adapter == key("adapter", name))).one_or_none()
    if row is None:
        raise InputError(f"there is no adapter {name!r}; see: stellwerk convert status")
    return _adapter(row)


def every(connection: Connection, cluster: str | None) -> list[StoredAdapter]:
    """Adapters, newest first; of one cluster, or of all."""
    query = select(adapters).order_by(adapters.c.created_at.desc(), adapters.c.adapter)
    if cluster is not None:
        query = query.where(adapters.c.cluster == key("cluster", cluster))
    return [_adapter(row) for row in connection.execute(query)]


def set_state(
    connection: Connection, name: str, state: AdapterState, card: Mapping[str, Any] | None
) -> StoredAdapter:
    """Change the state of an adapter, and its card where one is given."""
    if state not in ADAPTER_STATES:
        raise InputError(f"the state is {state!r}; give one of {', '.join(ADAPTER_STATES)}")
    values: dict[str, Any] = {"state": state}
    if card is not None:
        values["card"] = json_value.dump(json_value.plain(card, "the card"), "the card")
    connection.execute(update(adapters).where(adapters.c.adapter == key("adapter", name)).values(**values))
    return get(connection, name)


def move(
    connection: Connection,
    cluster: str,
    kind: MoveKind,
    serves: str,
    share: float,
    reason: Reason,
    after: int | None,
) -> ClusterMove:
    """Change what serves a cluster; refused where another move was made since the one of that number."""
    _check(kind, share)
    connection.execute(select(clusterings.c.version).order_by(clusterings.c.version).with_for_update()).all()
    name = key("cluster", cluster)
    if (
        connection.execute(select(clusters.c.cluster).where(clusters.c.cluster == name).limit(1)).first()
        is None
    ):
        raise InputError(f"there is no cluster {cluster!r}; see: stellwerk convert status")
    last = latest(connection).get(cluster)
    if after is not None and (last.number if last else 0) != after:
        raise InputError(
            f"cluster {cluster} was moved since (move {last.number if last else 0}, by "
            f"{last.who if last else 'nobody'}); look at it again"
        )
    number = (connection.execute(select(func.max(moves.c.move))).scalar() or 0) + 1
    row = {
        "move": number,
        "cluster": name,
        "kind": kind,
        "served": None if (served := _standing(last)) is None else key("served", served),
        "serves": key("serves", serves),
        "share": share,
        "moved_at": datetime.now(UTC),
        **reason.row(),
    }
    connection.execute(moves.insert(), row)
    return _move(connection.execute(select(moves).where(moves.c.move == number)).one())


def history(connection: Connection, cluster: str | None, limit: int | None) -> list[ClusterMove]:
    """Moves, newest first; of one cluster, or of all."""
    query = select(moves).order_by(moves.c.move.desc()).limit(limit)
    if cluster is not None:
        query = query.where(moves.c.cluster == key("cluster", cluster))
    return [_move(row) for row in connection.execute(query)]


def latest(connection: Connection) -> dict[str, ClusterMove]:
    """The last move of each cluster that was ever moved: how it stands."""
    newest = select(func.max(moves.c.move)).group_by(moves.c.cluster)
    query = select(moves).where(moves.c.move.in_(newest)).order_by(moves.c.cluster)
    return {each.cluster: each for each in map(_move, connection.execute(query))}


def _standing(last: ClusterMove | None) -> str | None:
    """What serves a cluster, whatever is tried beside it."""
    if last is None:
        return None
    return last.serves if last.kind in ("serve", "rollback") else last.served


def _check(kind: MoveKind, share: float) -> None:
    if kind not in MOVE_KINDS:
        raise InputError(f"the move is {kind!r}; give one of {', '.join(MOVE_KINDS)}")
    fits = {"shadow": share == 0, "canary": 0 < share < 1}.get(kind, share == 1)
    if not fits:
        raise InputError(
            f"the share of a {kind} is {share}; a shadow answers 0 of the calls, a canary more than 0 and "
            "fewer than all, and what serves, or serves again, all of them (1)"
        )


def _adapter(row: Row) -> StoredAdapter:
    return StoredAdapter(
        name=text(bytes(row.adapter)),
        cluster=text(bytes(row.cluster)),
        base=row.base,
        path=row.path,
        sha256=bytes(row.sha256).hex(),
        dataset=text(bytes(row.dataset)),
        card=json.loads(row.card),
        state=row.state,
        forgot_at=row.forgot_at,
        created_at=row.created_at,
    )


def _move(row: Row) -> ClusterMove:
    return ClusterMove(
        number=row.move,
        cluster=text(bytes(row.cluster)),
        kind=row.kind,
        served=None if row.served is None else text(bytes(row.served)),
        serves=text(bytes(row.serves)),
        share=row.share,
        evidence=None if row.evidence is None else json.loads(row.evidence),
        who=row.who,
        why=row.why,
        moved_at=row.moved_at,
    )
