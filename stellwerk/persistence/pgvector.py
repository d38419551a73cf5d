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
from sqlalchemy.ext.compiler import compiles
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
MAX_PAGE = 1_000  # vectors to ask for; where more are needed, a search is exact
_MORE = 1_000  # candidates beyond those, as in ties, before a search is exact
_PLAIN, _FILTERED = 2, 8  # vectors to ask for first, for each item wanted
_GROWTH = 8  # how many more to ask for next
_OPERATORS = {"cosine": "<=>", "inner_product": "<#>", "l2": "<->"}
_FIND = text(
    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
    "WHERE e.extname = 'vector' AND has_schema_privilege(n.oid, 'USAGE')"
)
_OFFERED = text("SELECT true FROM pg_available_extensions WHERE name = 'vector'")
_CREATE = text("CREATE EXTENSION IF NOT EXISTS vector")

# Norms between which no sum of squares of 32 bits overflows, or loses its digits as it comes close to 0.
_SMALL, _LARGE = 1e-15, 1e18
_ROUNDED = 3e-9  # scores are rounded to 9 digits, so that such distances may tie
_INFINITE: ColumnElement[float] = literal(math.inf, Double())
_WELL = vectors.c.norm.between(_SMALL, _LARGE)
_PRESENT = and_(items.c.item == vectors.c.item, items.c.updated_at == vectors.c.updated_at)


def find(connection: Connection) -> str | None:
    """The schema that pgvector is in; the extension is created if it is not there and may be.

    Returns:
        None where this database does without it.
    """
    schema = _schema(connection)
    if schema is not None or not connection.scalar(_OFFERED):
        return schema
    try:
        with connection.begin_nested():
            connection.execute(_CREATE)
    except DBAPIError as error:
        if passes(error):
            raise
        logger.info("pgvector is not used, as its extension cannot be created: %s", error.orig)
    return _schema(connection)  # created here, or by another at the same time


def _schema(connection: Connection) -> str | None:
    found: list[str] = list(connection.execute(_FIND).scalars())
    return found[0] if found else None


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
    """As `store_units.nearest`, with the vector of the query, and the schema that pgvector is in.

    Returns:
        None where it takes an exact search: if fewer items have vectors than are asked for, few match the
        filter, many are equally near, or numbers are too large, or too many, for pgvector.
    """
    rank = limit + offset
    if limit == 0:
        return []
    if len(query) // 4 > MAX_DIMS or not _counts(distance, norm(query)):
        return None
    # How many vectors the items have, and what a filter lets through, is known here only; so ask for more of
    # the nearest, until enough items match.
    page = rank * (_FILTERED if filter else _PLAIN)
    while page <= MAX_PAGE:
        parameters = _parameters(distance, query, page) | {"now": now}
        rows = connection.execute(_candidates(schema, distance, tuple(prefix)), parameters).all()
        if not rows or len(rows) > page + _MORE:
            return None
        edge = sorted(row.farthest for row in rows)[page - 1]
        rows = _matching(rows, filter)
        farthest: dict[bytes, float] = {}
        for row in rows:
            farthest[row.item] = min(row.farthest, farthest.get(row.item, math.inf))
        # Of what is farther than the edge, not every candidate was asked for.
        if sum(away <= edge for away in farthest.values()) >= rank:
            return _ranked(rows, scores)[offset:rank]
        page *= _GROWTH
    return None


def _matching(rows: Sequence[Row], filter: Mapping[str, Any]) -> Sequence[Row]:
    if not filter:
        return rows
    values = {row.item: row.value for row in rows}
    matching = {item for item, value in values.items() if matches(filter, load(value))}
    return [row for row in rows if row.item in matching]


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


def _parameters(distance: str, query: bytes, page: int) -> dict[str, Any]:
    dims = len(query) // 4
    # How far a sum of `dims` products of 32 bits can be off, in relation to the sum of their amounts (Higham,
    # Accuracy and Stability of Numerical Algorithms, 3.1), and a little more for what is done with it.
    share = (dims + 8) * 2**-24 * 1.02
    match distance:
        case "cosine":  # as three such sums make it
            share *= 2.2
        case "inner_product":  # as the norms limit that sum of amounts
            share *= norm(query)
    return {"query": query, "dims": dims, "share": share, "skipped": page - 1, "most": page + _MORE + 1}


@lru_cache(maxsize=256)
def _candidates(schema: str, distance: str, prefix: tuple[str, ...]) -> Select[Any]:
    """Every vector that may be among a page of the nearest, with its item; none where no page is filled.

    The true distance is at most `farthest`. The page ends at the edge, behind as many of those as it has
    vectors; what is farther even at best is no candidate.
    """
    vector = _Vector(schema)
    # A query for itself, so that it is cast once, and not for each row.
    query = select(cast(bindparam("query", type_=Floats()), vector)).scalar_subquery()
    operator = f"OPERATOR({_quoted(schema)}.{_OPERATORS[distance]})"
    away: ColumnElement[float] = cast(vectors.c.vector, vector).op(operator, return_type=Double())(query)
    fits: ColumnElement[bool] = vectors.c.dims == bindparam("dims", type_=Integer())
    whens: list[tuple[ColumnElement[bool], ColumnElement[float]]] = []
    if distance == "cosine":
        whens = [(and_(fits, vectors.c.norm == 0), literal(1.0, Double())), (fits & _WELL, away)]
    else:
        whens = [(and_(fits, vectors.c.norm <= _LARGE), away)]
    # Named twice below, so PostgreSQL makes it once, and measures each row once.
    measured = (
        select(vectors.c.item, vectors.c.path, vectors.c.norm, case(*whens).label("away"))
        .join(items, _PRESENT)
        .where(below(prefix), ALIVE)
        .cte("measured")
    )
    off: ColumnElement[float] = bindparam("share", type_=Double())
    if distance != "cosine":
        off *= measured.c.away if distance == "l2" else measured.c.norm
    nearest = func.coalesce(measured.c.away - off, -_INFINITE)
    farthest = func.coalesce(measured.c.away + off, _INFINITE)
    skipped, most = bindparam("skipped", type_=Integer()), bindparam("most", type_=Integer())
    edge = select(farthest).order_by(farthest).limit(1).offset(skipped).scalar_subquery()
    chosen = and_(vectors.c.item == measured.c.item, vectors.c.path == measured.c.path)
    return (
        select(items, vectors.c.dims, vectors.c.vector, farthest.label("farthest"))
        .join_from(measured, vectors, chosen)
        .join(items, _PRESENT)
        .where(nearest <= edge + _ROUNDED)
        .limit(most)
    )


class _Vector(UserDefinedType[Any]):
    """pgvector's type."""

    cache_ok = True

    def __init__(self, schema: str) -> None:
        self.schema = schema


@compiles(_Vector)
def _named(type_: _Vector, compiler: Any, **_: Any) -> str:
    # With its schema, which may not be on the search path, and with `%` as the driver needs it.
    return f"{compiler.dialect.identifier_preparer.quote_identifier(type_.schema)}.vector"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
