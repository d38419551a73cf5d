"""What clusterings do to the database, each a function of a connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from stellwerk.errors import InputError, UntrustedDataError
from stellwerk.persistence import json_value
from stellwerk.persistence.consent_units import chunks
from stellwerk.persistence.insert import insert_or_keep, insert_or_update
from stellwerk.persistence.schema.columns import key, text
from stellwerk.persistence.schema.conversion import clustering_parts, clusterings, clusters, members
from stellwerk.persistence.trace_units import trace_key

Row = Any  # of SQLAlchemy's; its columns are those of the statement

_PART = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A recurring job.

    Args:
        id: of it, in all versions of the clustering in which it is the same job.
        call_site: where its calls are made.
        name: for people.
        card: what is known of it, as JSON; never what people said.
    """

    id: str
    call_site: str
    name: str
    card: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clustering:
    """What tells which cluster a call belongs to.

    Args:
        version: digest of its content.
        card: what it was made of, and how good it was found, as JSON.
        size: of its file, in bytes.
        created_at: when it was saved.
    """

    version: str
    card: dict[str, Any]
    size: int
    created_at: datetime


def save(
    connection: Connection, version: str, file: bytes, card: Mapping[str, Any], found: Sequence[Cluster]
) -> Clustering:
    """Save a clustering with its clusters; one of that version that is there already stays as it is."""
    name, dialect = key("version", version), connection.dialect.name
    row = {
        "version": name,
        "sha256": hashlib.sha256(file).digest(),
        "size": len(file),
        "card": _json(card, "the card"),
        "created_at": datetime.now(UTC),
    }
    for number, start in enumerate(range(0, len(file), _PART)):
        part = {"version": name, "part": number, "data": file[start : start + _PART]}
        connection.execute(insert_or_keep(dialect, clustering_parts), part)
    rows = [
        {
            "version": name,
            "cluster": key("cluster", each.id),
            "call_site": key("call_site", each.call_site),
            "name": each.name,
            "card": _json(each.card, f"the card of cluster {each.id}"),
        }
        for each in found
    ]
    if rows:
        connection.execute(insert_or_keep(dialect, clusters), rows)
    connection.execute(insert_or_keep(dialect, clusterings), row)
    return next(one for one in every(connection) if one.version == version)


def load(connection: Connection, version: str) -> bytes:
    """The file of a clustering, checked against its digest."""
    name = key("version", version)
    digest = connection.execute(select(clusterings.c.sha256).where(clusterings.c.version == name)).scalar()
    if digest is None:
        raise _unknown(version)
    query = select(clustering_parts.c.data).where(clustering_parts.c.version == name)
    parts = connection.execute(query.order_by(clustering_parts.c.part)).scalars()
    file = b"".join(bytes(data) for data in parts)
    if hashlib.sha256(file).digest() != bytes(digest):
        raise UntrustedDataError(
            f"the file of clustering {version} is not the one that was saved: its digest does not match; "
            "make the clusters again"
        )
    return file


def every(connection: Connection) -> list[Clustering]:
    """All clusterings, newest first."""
    c = clusterings.c
    query = select(c.version, c.card, c.size, c.created_at).order_by(c.created_at.desc(), c.version)
    return [
        Clustering(text(bytes(row.version)), json.loads(row.card), row.size, row.created_at)
        for row in connection.execute(query)
    ]


def of(connection: Connection, version: str) -> list[Cluster]:
    """The clusters of a clustering."""
    query = select(clusters).where(clusters.c.version == key("version", version))
    return [_cluster(row) for row in connection.execute(query.order_by(clusters.c.cluster))]


def add_members(connection: Connection, version: str, told: Mapping[str, str]) -> None:
    """Say which cluster traces belong to, by their ids; what was said before of one is replaced."""
    name = key("version", version)
    rows = [
        {"version": name, "trace": _trace(trace), "cluster": key("cluster", cluster)}
        for trace, cluster in sorted(told.items())
    ]
    if rows:
        connection.execute(insert_or_update(connection.dialect.name, members, ("cluster",)), rows)


def page(connection: Connection, version: str, cluster: str, after: str, size: int) -> list[str]:
    """Ids of the traces of a cluster, in order, after one."""
    c = members.c
    query = select(c.trace).where(c.version == key("version", version), c.cluster == key("cluster", cluster))
    if after:
        query = query.where(c.trace > _trace(after))
    return [bytes(trace).hex() for trace in connection.execute(query.order_by(c.trace).limit(size)).scalars()]


def clusters_of(connection: Connection, version: str, traces: Sequence[str]) -> dict[str, str]:
    """The cluster of each trace that is in one, by the traces' ids."""
    found, c = {}, members.c
    for chunk in chunks([_trace(trace) for trace in traces]):
        query = select(c.trace, c.cluster).where(c.version == key("version", version), c.trace.in_(chunk))
        for row in connection.execute(query):
            found[bytes(row.trace).hex()] = text(bytes(row.cluster))
    return found


def sizes(connection: Connection, version: str) -> dict[str, int]:
    """How many traces belong to each cluster."""
    query = select(members.c.cluster, func.count()).where(members.c.version == key("version", version))
    return {text(bytes(row[0])): row[1] for row in connection.execute(query.group_by(members.c.cluster))}


def discard(connection: Connection, version: str) -> None:
    """Delete a clustering, its clusters and who belongs to them; moves of its clusters stay."""
    name = key("version", version)
    for table in (members, clusters, clustering_parts, clusterings):
        connection.execute(delete(table).where(table.c.version == name))


def _unknown(version: str) -> InputError:
    return InputError(f"there is no clustering of version {version!r}; see: stellwerk convert status")


def _trace(trace_id: str) -> bytes:
    if (found := trace_key(trace_id)) is None:
        raise InputError(f"the id of a trace is {trace_id!r}; give 32 hexadecimal digits")
    return found


def _json(value: Mapping[str, Any], what: str) -> str:
    return json_value.dump(json_value.plain(value, what), what)


def _cluster(row: Row) -> Cluster:
    return Cluster(
        id=text(bytes(row.cluster)),
        call_site=text(bytes(row.call_site)),
        name=row.name,
        card=json.loads(row.card),
    )
