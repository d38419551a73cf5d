"""What the store does to the database, each a function of a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    and_,
    bindparam,
    case,
    delete,
    exists,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from stellwerk.persistence.insert import insert_or_update
from stellwerk.persistence.json_value import load
from stellwerk.persistence.schema.columns import MAX_KEY
from stellwerk.persistence.schema.items import items, vectors
from stellwerk.persistence.store_codec import Found, Row, joined, namespace, split
from stellwerk.persistence.store_filter import matches

CHUNK = 500  # items in one statement
_SET = ("namespace", "namespace_rest", "key", "value", "updated_at", "expires_at", "ttl_minutes")
_NEWEST = (items.c.updated_at.desc(), items.c.item)  # the digest decides between items of one moment
ALIVE = or_(items.c.expires_at.is_(None), items.c.expires_at > bindparam("now"))
# Made once: making them costs more than SQLite takes to answer.
_ONE = select(items).where(items.c.item == bindparam("named"), ALIVE)
_MANY = select(items).where(items.c.item.in_(bindparam("named", expanding=True)), ALIVE)
_VALUES = select(items.c.item, items.c.value).where(items.c.item.in_(bindparam("named", expanding=True)))
_VECTORS = (
    select(vectors.c.item, vectors.c.dims, vectors.c.vector)
    .join(items, and_(items.c.item == vectors.c.item, items.c.updated_at == vectors.c.updated_at))
    .where(vectors.c.item.in_(bindparam("named", expanding=True)))
)
_PATHS = select(vectors.c.item, vectors.c.path).where(vectors.c.item.in_(bindparam("named", expanding=True)))
_FORGET = delete(vectors).where(vectors.c.item == bindparam("named"), vectors.c.path == bindparam("way"))
_DELETE = delete(items).where(items.c.item == bindparam("named"))

Scores = Callable[[Sequence[Row]], Sequence[float]]


def get(connection: Connection, ids: Sequence[bytes], now: datetime) -> dict[bytes, Row]:
    """The rows of those items that are there."""
    if len(ids) == 1:
        one = connection.execute(_ONE, {"named": ids[0], "now": now}).one_or_none()
        return {} if one is None else {ids[0]: one}
    found: dict[bytes, Row] = {}
    for chunk in _chunks(list(dict.fromkeys(ids))):
        rows = connection.execute(_MANY, {"named": chunk, "now": now}).all()
        found.update((bytes(row.item), row) for row in rows)
    return found


def search(
    connection: Connection,
    prefix: Sequence[str],
    filter: Mapping[str, Any],
    *,
    limit: int,
    offset: int,
    now: datetime,
) -> list[Found]:
    """Items below a namespace, those first that were written last."""
    if limit == 0:
        return []
    if filter:
        chosen = list(islice(_matching(connection, prefix, filter, now), offset, offset + limit))
        rows = get(connection, chosen, now)
        return [Found.of(rows[item]) for item in chosen if item in rows]
    query = select(items).where(below(prefix), ALIVE).order_by(*_NEWEST).limit(limit).offset(offset)
    return [Found.of(row) for row in connection.execute(query, {"now": now})]


def nearest(
    connection: Connection,
    prefix: Sequence[str],
    filter: Mapping[str, Any],
    *,
    scores: Scores,
    limit: int,
    offset: int,
    now: datetime,
) -> list[Found]:
    """Items below a namespace, those first whose nearest vector is nearest; those without any come last."""
    ids = list(_matching(connection, prefix, filter, now)) if filter else _ids(connection, prefix, now)
    best: dict[bytes, float] = {}
    for chunk in _chunks(ids):
        rows = connection.execute(_VECTORS, {"named": chunk}).all()
        for row, score in zip(rows, scores(rows), strict=True):
            item = bytes(row.item)
            best[item] = max(score, best.get(item, score))
    # Both are in the order of `ids`, the newest first, where the score does not decide.
    ranked = sorted((item for item in ids if item in best), key=lambda item: -best[item])
    chosen = (ranked + [item for item in ids if item not in best])[offset : offset + limit]
    rows_by_id = get(connection, chosen, now)
    return [Found.of(rows_by_id[item], best.get(item)) for item in chosen if item in rows_by_id]


def namespaces(connection: Connection, prefix: Sequence[str], now: datetime) -> list[tuple[str, ...]]:
    """The namespaces, at or below one, that hold items."""
    c = items.c
    query = select(c.namespace, c.namespace_rest).where(below(prefix), ALIVE).distinct()
    return [namespace(row.namespace, row.namespace_rest) for row in connection.execute(query, {"now": now})]


def put(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store items; what vectors their old values had are gone."""
    connection.execute(_upsert(connection.dialect.name), rows)
    _forget(connection, [row["item"] for row in rows])


def embed(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store the vectors of items that were just stored."""
    columns = ("updated_at", "dims", "norm", "vector")
    connection.execute(insert_or_update(connection.dialect.name, vectors, columns), rows)


def remove(connection: Connection, ids: Sequence[bytes]) -> None:
    """Delete items and their vectors."""
    # One after the other: in a single statement, PostgreSQL locks them in an order of its own.
    connection.execute(_DELETE, [{"named": item} for item in ids])
    _forget(connection, ids)


def refresh(connection: Connection, expiries: Mapping[tuple[bytes, datetime], datetime]) -> None:
    """Let items, each named with its version, live on until then; never shorter than they do."""
    c = items.c
    statement = (
        update(items)
        .where(
            c.item == bindparam("named"),
            c.updated_at == bindparam("version"),
            c.expires_at < bindparam("later"),
        )
        .values(expires_at=bindparam("later"))
    )
    # In one order everywhere, so that two who refresh the same items do not wait for each other.
    rows = [
        {"named": item, "version": version, "later": later}
        for (item, version), later in sorted(expiries.items())
    ]
    connection.execute(statement, rows)


def sweep(connection: Connection, now: datetime) -> tuple[int, bool]:
    """Delete some of what has expired; how many items, and whether there may be more."""
    c = items.c
    query = select(c.item).where(c.expires_at <= now).order_by(c.item).limit(CHUNK)
    ids = [bytes(item) for item in connection.execute(query).scalars()]
    if not ids:
        return 0, False
    # Again, as another may have written them anew since.
    deleted = connection.execute(delete(items).where(c.item.in_(ids), c.expires_at <= now)).rowcount
    _forget(connection, ids, ~exists().where(items.c.item == vectors.c.item))
    return deleted, len(ids) == CHUNK


def _forget(connection: Connection, ids: Sequence[bytes], *conditions: ColumnElement[bool]) -> None:
    # Looked up first: on MySQL, deleting what is not there locks the gap, and others wait to insert there.
    query = _PATHS.where(*conditions) if conditions else _PATHS
    for chunk in _chunks(ids):
        rows = connection.execute(query, {"named": chunk}).all()
        if rows:
            connection.execute(_FORGET, [{"named": row.item, "way": row.path} for row in rows])


def _matching(
    connection: Connection, prefix: Sequence[str], filter: Mapping[str, Any], now: datetime
) -> Iterator[bytes]:
    query = select(items.c.item, items.c.value).where(below(prefix), ALIVE).order_by(*_NEWEST).limit(CHUNK)
    first = {bytes(row.item): row.value for row in connection.execute(query, {"now": now})}
    yield from (item for item, value in first.items() if matches(filter, load(value)))
    if len(first) < CHUNK:
        return
    for chunk in _chunks([item for item in _ids(connection, prefix, now) if item not in first]):
        values = {bytes(row.item): row.value for row in connection.execute(_VALUES, {"named": chunk})}
        yield from (item for item in chunk if item in values and matches(filter, load(values[item])))


def _ids(connection: Connection, prefix: Sequence[str], now: datetime) -> list[bytes]:
    # All at once: pages of rows would miss an item that is written between two of them, and so moves.
    query = select(items.c.item).where(below(prefix), ALIVE).order_by(*_NEWEST)
    return [bytes(item) for item in connection.execute(query, {"now": now}).scalars()]


def below(prefix: Sequence[str]) -> ColumnElement[bool]:
    """The items of a namespace and of those below it: a range, as `/` is the byte after the dot."""
    if not prefix:
        return true()
    whole = joined(prefix)
    head, rest = split(whole)
    if len(whole) < MAX_KEY:
        return _range(items.c.namespace, whole)
    return and_(items.c.namespace == head, _range(items.c.namespace_rest, rest))


def _range(column: ColumnElement[bytes], start: bytes) -> ColumnElement[bool]:
    return or_(column == start, and_(column >= start + b".", column < start + b"/"))


@lru_cache
def _upsert(dialect: str) -> Insert:
    """Insert items, or set them anew; one that had expired is new, with a new time of creation."""
    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(items)
        # In this order: MySQL sets one column after the other, and the first looks at what others set.
        changes = [("created_at", _created(statement.inserted))]
        changes += [(name, statement.inserted[name]) for name in _SET]
        return statement.on_duplicate_key_update(changes)
    insert: Any = postgresql.insert(items) if dialect == "postgresql" else sqlite.insert(items)
    set_ = {"created_at": _created(insert.excluded)} | {name: insert.excluded[name] for name in _SET}
    upsert: Insert = insert.on_conflict_do_update(index_elements=[items.c.item], set_=set_)
    return upsert


def _created(new: Any) -> ColumnElement[Any]:
    return case((items.c.expires_at <= new.updated_at, new.created_at), else_=items.c.created_at)


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
