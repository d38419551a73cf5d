"""A batch of operations as one unit of work, in which reads see what was there before its writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)
from sqlalchemy import Connection

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence import pgvector
from stellwerk.persistence import store_units as units
from stellwerk.persistence.json_value import load
from stellwerk.persistence.store_codec import Found, Row, expiry, item_id, item_row
from stellwerk.persistence.store_filter import checked
from stellwerk.persistence.vectors import VectorIndex, norm

Expiries = dict[tuple[bytes, datetime], datetime]


@dataclass(frozen=True, slots=True)
class _Get:
    at: int
    item: bytes
    refresh: bool


@dataclass(frozen=True, slots=True)
class _Search:
    at: int
    op: SearchOp
    filter: dict[str, Any]


class Batch:
    """Operations, checked and encoded before the database hears of them.

    `texts` and `queries` are what has to be embedded first.

    Raises:
        InputError: if an operation cannot be carried out; then none is.
        InvalidNamespaceError: if a namespace has a label that is empty, not text, or contains a dot.
    """

    def __init__(self, ops: Iterable[Op], *, now: datetime, index: VectorIndex | None) -> None:
        self._now = now
        self._index = index
        self._size = 0
        self._gets: list[_Get] = []
        self._searches: list[_Search] = []
        self._listings: list[tuple[int, ListNamespacesOp]] = []
        self._rows: dict[bytes, dict[str, Any] | None] = {}  # None deletes
        self._texts: dict[bytes, dict[bytes, str]] = {}  # of an item, by path
        for op in ops:
            self._add(self._size, op)
            self._size += 1

    @property
    def writes(self) -> bool:
        """Whether it stores or deletes anything."""
        return bool(self._rows)

    @property
    def texts(self) -> list[str]:
        """The texts to be embedded of what is stored."""
        return [text for texts in self._texts.values() for text in texts.values()]

    @property
    def queries(self) -> list[str]:
        """The queries to be embedded."""
        if self._index is None:
            return []
        return [search.op.query for search in self._searches if search.op.query]

    def unit(
        self, texts: Mapping[str, bytes], queries: Mapping[str, bytes], pgvector_schema: str | None = None
    ) -> Callable[[Connection], tuple[list[Result], Expiries]]:
        """The unit of work, given the vectors of `texts` and `queries`, and where pgvector is.

        It gives the results, and which items are to live longer as they were read; a batch that writes has
        seen to that itself.
        """
        # In one order everywhere, so that two batches of the same items do not wait for each other.
        writes = [
            (removed, list(group))
            for removed, group in groupby(sorted(self._rows.items(), key=_item), key=_removes)
        ]
        embedded = [
            {
                "item": item,
                "path": path,
                "updated_at": self._now,
                "dims": len(texts[text]) // 4,
                "norm": norm(texts[text]),
                "vector": texts[text],
            }
            for item, of_item in sorted(self._texts.items())
            for path, text in of_item.items()
        ]

        def work(connection: Connection) -> tuple[list[Result], Expiries]:
            results: list[Result] = [None] * self._size
            expiries: Expiries = {}
            self._read(connection, results, expiries, queries, pgvector_schema)
            if self.writes and expiries:
                units.refresh(connection, expiries)
                expiries = {}
            for removed, group in writes:
                if removed:
                    units.remove(connection, [item for item, _ in group])
                else:
                    units.put(connection, [row for _, row in group if row is not None])
            if embedded:
                units.embed(connection, embedded)
            return results, expiries

        return work

    def _add(self, at: int, op: Op) -> None:
        validate_op_namespace(op)
        match op:
            case GetOp():
                _tuple(op.namespace)
                self._gets.append(_Get(at, item_id(op.namespace, op.key), op.refresh_ttl))
            case SearchOp():
                _tuple(op.namespace_prefix)
                _count("limit", op.limit)
                _count("offset", op.offset)
                self._searches.append(_Search(at, op, checked(op.filter)))
            case ListNamespacesOp():
                _count("limit", op.limit)
                _count("offset", op.offset)
                if op.max_depth is not None:
                    _count("max_depth", op.max_depth)
                for condition in op.match_conditions or ():
                    if condition.match_type not in ("prefix", "suffix"):
                        raise InputError(
                            f"there is no match_type {condition.match_type!r}; use 'prefix' or 'suffix'"
                        )
                self._listings.append((at, op))
            case PutOp():
                _tuple(op.namespace)
                self._put(op)
            case _:
                raise InputError(
                    f"a batch holds a {type(op).__name__}; give GetOp, SearchOp, PutOp or ListNamespacesOp"
                )

    def _put(self, op: PutOp) -> None:
        item = item_id(op.namespace, op.key)
        # The last of an item counts, though each is checked.
        self._texts.pop(item, None)
        if op.value is None:
            self._rows[item] = None
            return
        row = item_row(op, self._now)
        self._rows[item] = row
        if self._index is not None:
            what = f"{op.key!r} in {op.namespace!r}"
            self._texts[item] = self._index.texts(load(row["value"]), op.index, what)

    def _read(
        self,
        connection: Connection,
        results: list[Result],
        expiries: Expiries,
        queries: Mapping[str, bytes],
        pgvector_schema: str | None,
    ) -> None:
        if self._gets:
            rows = units.get(connection, [get.item for get in self._gets], self._now)
            for get in self._gets:
                if row := rows.get(get.item):
                    results[get.at] = Found.of(row).item()
                    self._note(expiries, row, get.refresh)
        for search in self._searches:
            found = self._search(connection, search, queries, pgvector_schema)
            results[search.at] = [item.search_item() for item in found]
            for item in found:
                self._note(expiries, item.row, search.op.refresh_ttl)
        for at, listing in self._listings:
            results[at] = self._namespaces(connection, listing)

    def _search(
        self,
        connection: Connection,
        search: _Search,
        queries: Mapping[str, bytes],
        pgvector_schema: str | None,
    ) -> Sequence[Found]:
        op = search.op
        index, query = self._index, queries.get(op.query or "")
        if index is None or query is None:
            return units.search(
                connection,
                op.namespace_prefix,
                search.filter,
                limit=op.limit,
                offset=op.offset,
                now=self._now,
            )

        def scores(rows: Sequence[Row]) -> list[float]:
            for row in rows:
                if row.dims != index.dims:
                    raise DatabaseError(
                        f"a stored vector has {row.dims} dimensions, and the index {index.dims}; "
                        "put the items anew, or use the index that they were stored with"
                    )
            return index.scores(query, [bytes(row.vector) for row in rows])

        if pgvector_schema is not None:
            found = pgvector.nearest(
                connection,
                op.namespace_prefix,
                search.filter,
                schema=pgvector_schema,
                distance=index.distance,
                query=query,
                scores=scores,
                limit=op.limit,
                offset=op.offset,
                now=self._now,
            )
            if found is not None:
                return found
        return units.nearest(
            connection,
            op.namespace_prefix,
            search.filter,
            scores=scores,
            limit=op.limit,
            offset=op.offset,
            now=self._now,
        )

    def _namespaces(self, connection: Connection, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        prefix = max(map(_literal, conditions), key=len, default=())
        found = {
            namespace if op.max_depth is None else namespace[: op.max_depth]
            for namespace in units.namespaces(connection, prefix, self._now)
            if all(_fits(condition, namespace) for condition in conditions)
        }
        return sorted(found)[op.offset : op.offset + op.limit]

    def _note(self, expiries: Expiries, row: Row, refresh: bool) -> None:
        if refresh and row.ttl_minutes is not None:
            expiries[bytes(row.item), row.updated_at] = expiry(row.ttl_minutes, self._now)


def _item(write: tuple[bytes, dict[str, Any] | None]) -> bytes:
    return write[0]


def _removes(write: tuple[bytes, dict[str, Any] | None]) -> bool:
    return write[1] is None


def _literal(condition: MatchCondition) -> tuple[str, ...]:
    """The labels with which a namespace has to begin."""
    if condition.match_type != "prefix":
        return ()
    path = tuple(condition.path)
    return path[: path.index("*")] if "*" in path else path


def _fits(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True)) if path else True


def _tuple(namespace: object) -> None:
    if not isinstance(namespace, tuple | list):  # a text would be taken for as many labels as it has letters
        raise InputError(f"the namespace is {namespace!r}; give a tuple of texts")
    if any("\0" in label for label in namespace if isinstance(label, str)):
        # LangGraph refuses it since its checkpoint library 4.3.2.
        raise InvalidNamespaceError(f"the namespace {namespace!r} has a NUL; leave it out")


def _count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise InputError(f"{name} is {value!r}; give a whole number from 0")
