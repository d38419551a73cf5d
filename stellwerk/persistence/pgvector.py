"""Search by meaning where PostgreSQL has pgvector: it tells which items may be among the nearest.

pgvector counts in 32 bits, so what it finds are candidates: every item that may be among the nearest, given
how far its distances can be off. They are compared again in this process, so that the order and the scores
are those of an exact search.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import UserDefinedType

from stellwerk.persistence.json_value import load
from stellwerk.persistence.retry import passes
from stellwerk.persistence.schema.floats import Floats
from stellwerk.persistence.schema.items import items, vectors
from stellwerk.persistence.store_codec import Found, Row
from stellwerk.persistence.store_filter import matches
from stellwerk.persistence.store_units import ALIVE, Scores, below
from stellwerk.persistence.vectors import norm

logger = logging.getLogger(__name__)

MAX_DIMS = 16_000  # of a vector of pgvector
MAX_RANK = 1_000  # where a search for more of the nearest is exact
_MORE = 1_000  # candidates beyond the rank, as in ties, before a search is exact
_GROWTH = 8  # of the pages of a search with a filter
_OPERATORS = {"cosine": "<=>", "inner_product": "<#>", "l2": "<->"}
_FIND = text(
    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
    "WHERE e.extname = 'vector' AND has_schema_privilege(n.oid, 'USAGE')"
)
_OFFERED = text(
    "SELECT true FROM pg_available_extensions WHERE name = 'vector' AND installed_version IS NULL"
)
_CREATE = text("CREATE EXTENSION IF NOT EXISTS vector")

# Norms between which no sum of squares of 32 bits overflows, or loses its digits as it comes close to 0.
_SMALL, _LARGE = 1e-15, 1e18
_ROUNDED = 3e-9  # scores are rounded to 9 digits, so that such distances may tie
_INFINITE = literal(math.inf, Double())
_WELL = vectors.c.norm.between(_SMALL, _LARGE)
_PRESENT = and_(items.c.item == vectors.c.item, items.c.updated_at == vectors.c.updated_at)


def find(connection: Connection) -> str | None:
    """The schema that pgvector is in; the extension is created if it is not there and may be.

    Returns:
        None where this database does without it.
    """
    schema: str | None = connection.scalar(_FIND)
    if schema is not None or not connection.scalar(_OFFERED):
        return schema
    try:
        with connection.begin_nested():
            connection.execute(_CREATE)
    except DBAPIError as error:
        if passes(error):
            raise
        logger.info("searches without pgvector, as the extension cannot be created: %s", error.orig)
    return connection.scalar(_FIND)  # created here, or by another at the same time


def nearest(
    connection: Connection,
    prefix: Sequence[str],
    filter: Mapping[str, Any],
    *,
    schema: str,
    distance: str,
    query: bytes,
    scores: Scores,
    limit: int,
    offset: int,
    now: datetime,
) -> list[Found] | None:
    """As `store_units.nearest`.

    Returns:
        None where it takes an exact search: if fewer items have vectors than are asked for, few match the
        filter, many are equally near, or numbers are too large, or too many, for pgvector.
    """
    rank = limit + offset
    if limit == 0 or len(query) // 4 > MAX_DIMS or not _counts(distance, norm(query)):
        return [] if limit == 0 else None
    # What a filter lets through is only known here; so ask for more of the nearest, until enough match.
    page = rank * 4 if filter else rank
    while page <= MAX_RANK:
        parameters = _parameters(distance, query, page) | {"now": now}
        rows = connection.execute(_candidates(schema, distance, tuple(prefix)), parameters).all()
        if not rows or len(rows) > _most(page):
            return None
        found = {row.item: row for row in rows}
        edge = sorted(row.farthest for row in found.values())[page - 1]
        matching = {item: row for item, row in found.items() if matches(filter, load(row.value))}
        farthest = sorted(row.farthest for row in matching.values())
        if len(farthest) >= rank and farthest[rank - 1] <= edge:
            return _ranked([row for row in rows if row.item in matching], scores)[offset:rank]
        page *= _GROWTH
    return None


def _ranked(rows: Sequence[Row], scores: Scores) -> list[Found]:
    best: dict[bytes, tuple[float, Row]] = {}
    for row, score in zip(rows, scores(rows), strict=True):
        if row.item not in best or score > best[row.item][0]:
            best[row.item] = score, row
    newest = sorted(best.values(), key=lambda found: found[1].item)
    newest.sort(key=lambda found: found[1].updated_at, reverse=True)
    return [Found.of(row, score) for score, row in sorted(newest, key=lambda found: -found[0])]


def _counts(distance: str, length: float) -> bool:
    """Whether pgvector counts well with a vector of this norm."""
    return (distance != "cosine" or length >= _SMALL) and length <= _LARGE


def _most(rank: int) -> int:
    return 4 * rank + _MORE  # rows, of which an item has as many as vectors


def _parameters(distance: str, query: bytes, rank: int) -> dict[str, Any]:
    dims = len(query) // 4
    # How far a sum of `dims` products of 32 bits can be off, in relation to the sum of their amounts (Higham,
    # Accuracy and Stability of Numerical Algorithms, 3.1), and a little more for what is done with it.
    share = (dims + 8) * 2**-24 * 1.02
    match distance:
        case "cosine":  # as three such sums make it
            share *= 2.2
        case "inner_product":  # as the norms limit that sum of amounts
            share *= norm(query)
    return {"query": query, "dims": dims, "share": share, "skipped": rank - 1, "most": _most(rank) + 1}


@lru_cache(maxsize=256)
def _candidates(schema: str, distance: str, prefix: tuple[str, ...]) -> Select[Any]:
    """Every item that may be among the nearest, with each of its vectors.

    An item is at least `nearest` and at most `farthest` away. Those that are at least as far as so many are
    at most, which is the rank, are not among the nearest. Without so many items there are no candidates.
    """
    vector = _Vector(schema)
    # A query for itself, so that it is cast once, and not for each row.
    query = select(cast(bindparam("query", type_=Floats()), vector)).scalar_subquery()
    operator = f"OPERATOR({_quoted(schema)}.{_OPERATORS[distance]})"
    measured: ColumnElement[float] = cast(vectors.c.vector, vector).op(operator, return_type=Double())(query)
    fits: ColumnElement[bool] = vectors.c.dims == bindparam("dims", type_=Integer())
    whens: list[tuple[ColumnElement[bool], ColumnElement[float]]] = []
    if distance == "cosine":
        whens = [(and_(fits, vectors.c.norm == 0), literal(1.0, Double())), (fits & _WELL, measured)]
    else:
        whens = [(and_(fits, vectors.c.norm <= _LARGE), measured)]
    # With an offset, as PostgreSQL would measure twice otherwise.
    rows = (
        select(vectors.c.item, vectors.c.norm, case(*whens).label("away"))
        .join(items, _PRESENT)
        .where(below(prefix), ALIVE)
        .offset(0)
        .subquery("measured")
    )
    off: ColumnElement[float] = bindparam("share", type_=Double())
    if distance != "cosine":
        off *= rows.c.away if distance == "l2" else rows.c.norm
    ranked = (
        select(
            rows.c.item,
            func.min(func.coalesce(rows.c.away - off, -_INFINITE)).label("nearest"),
            func.min(func.coalesce(rows.c.away + off, _INFINITE)).label("farthest"),
        )
        .group_by(rows.c.item)
        .cte("ranked")
    )
    edge = (
        select(ranked.c.farthest)
        .order_by(ranked.c.farthest)
        .limit(1)
        .offset(bindparam("skipped", type_=Integer()))
        .scalar_subquery()
    )
    return (
        select(items, vectors.c.dims, vectors.c.vector, ranked.c.farthest)
        .join(ranked, ranked.c.item == items.c.item)
        .join(vectors, _PRESENT)
        .where(ranked.c.nearest <= edge + _ROUNDED)
        .limit(bindparam("most", type_=Integer()))
    )


class _Vector(UserDefinedType[Any]):
    """pgvector's type."""

    cache_ok = True

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def get_col_spec(self, **_: Any) -> str:
        """With its schema, which may not be on the search path."""
        return f"{_quoted(self.schema)}.vector"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
