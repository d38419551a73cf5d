"""Lists of checkpoints, a page at a time, so that no connection is held while somebody works on one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from sqlalchemy import Select, and_, bindparam, literal_column, or_, select
from sqlalchemy.sql import ColumnElement

from stellwerk.errors import InputError
from stellwerk.persistence.checkpoint_codec import (
    Address,
    CheckpointRow,
    Codec,
    Found,
    WriteRow,
    plain,
    same,
    short_source,
    small_step,
)
from stellwerk.persistence.checkpoint_steps import blobs_of, is_gone, writes_of
from stellwerk.persistence.executor import Executor
from stellwerk.persistence.schema.checkpoints import checkpoints
from stellwerk.persistence.schema.columns import text

_PAGE = 32  # checkpoints in memory at once
_MISSING = object()
_ADDRESS = [checkpoints.c[name] for name in ("thread", "ns", "thread_id", "checkpoint_ns")]
_ROW = [checkpoints.c[name] for name in CheckpointRow._fields]


class Place(NamedTuple):
    """Where a page ended."""

    checkpoint_id: bytes
    thread: bytes
    ns: bytes


class Listing:
    """The checkpoints that a caller asks for, newest first.

    Metadata is compared here; in the database only `source` and `step`, as bound values.

    Raises:
        InputError: if the limit is no whole number from 0 on.
    """

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        if limit is not None and (type(limit) is not int or limit < 0):
            raise InputError(f"limit is {limit!r}; give a whole number from 0, or None for all")
        # A text is stored without its NULs in metadata: LangGraph drops them.
        self._filter: dict[str, Any] = {
            name: wanted.replace("\0", "") if isinstance(wanted, str) else plain(wanted)
            for name, wanted in (filter or {}).items()
        }
        self._given: dict[str, Any] = {}
        self._at = None if config is None else Address.of(config)
        if config is not None and self._at is not None:
            self._given["thread"] = self._at.keys["thread"]
            if "checkpoint_ns" in config["configurable"]:
                self._given["ns"] = self._at.keys["ns"]
            if self._at.checkpoint_id is not None:
                self._given["checkpoint_id"] = self._at.checkpoint_id.encode("utf-8", "surrogatepass")
        # LangGraph names no thread here when a graph with subgraphs runs again from a checkpoint.
        if newest := ((before or {}).get("configurable") or {}).get("checkpoint_id"):
            self._given["before"] = str(newest).encode("utf-8", "surrogatepass")
        # A value that a column cannot hold is not for the database to compare: it may refuse to.
        if (source := short_source(self._filter.get("source"))) is not None:
            self._given["source"] = source
        if (step := small_step(self._filter.get("step"))) is not None:
            self._given["step"] = step
        self._left = limit
        self.more = limit != 0

    def page(self, codec: Codec) -> Callable[[Executor], tuple[list[Found], Place | None]]:
        """The unit that reads the next page."""
        size = _PAGE if self._filter or self._left is None else min(_PAGE, self._left)
        query = _page(frozenset(self._given), size)
        given = dict(self._given)
        return lambda executor: self._read(executor, codec, query, given)

    def take(self, found: list[Found], last: Place | None) -> list[Found]:
        """The page's checkpoints, and no more than are asked for."""
        if last is None:
            self.more = False
            return found
        self._given |= {"after": last.checkpoint_id, "after_thread": last.thread, "after_ns": last.ns}
        if self._left is not None:
            found = found[: self._left]
            self._left -= len(found)
            self.more = self._left > 0
        return found

    def _read(
        self, executor: Executor, codec: Codec, query: Select[Any], given: dict[str, Any]
    ) -> tuple[list[Found], Place | None]:
        chosen = []
        last = None
        places: dict[tuple[bytes, bytes], Address] = {}
        names: dict[bytes, dict[bytes, None]] = {}
        ids: dict[tuple[bytes, bytes], list[bytes]] = {}
        for thread, ns, thread_id, checkpoint_ns, *columns in executor.fetch(query, given):
            row = CheckpointRow._make(columns)
            last = Place(row.checkpoint_id, thread, ns)
            if not self._matches(codec, row):
                continue
            where = (thread, ns)
            if (at := places.get(where)) is None:
                at = places[where] = Address(text(thread_id), text(checkpoint_ns), None)
            record = codec.record(row, at)
            chosen.append((where, row, record))
            if record.blobs:
                names.setdefault(thread, {}).update(dict.fromkeys(record.blobs.values()))
            ids.setdefault(where, []).append(row.checkpoint_id)
        stored = {thread: blobs_of(executor, thread, wanted) for thread, wanted in names.items()}
        pending: dict[tuple[bytes, bytes], dict[bytes, list[WriteRow]]] = {}
        for where, wanted in ids.items():
            own = pending[where] = {}
            for write in writes_of(executor, {"thread": where[0], "ns": where[1]}, wanted):
                own.setdefault(write.checkpoint_id, []).append(write)
        found = []
        for where, row, record in chosen:
            values = stored.get(where[0], {})
            lacking = any(name not in values for name in record.blobs.values())
            if not lacking or not is_gone(
                executor, places[where].keys, row.checkpoint_id
            ):  # deleted in between
                writes = pending[where].get(row.checkpoint_id, ())
                found.append(Found(places[where], row, record, values, writes))
        return found, last

    def _matches(self, codec: Codec, row: CheckpointRow) -> bool:
        if not self._filter:
            return True
        metadata: Any = codec.metadata(row)
        # A key that is absent matches nothing, None included.
        return all(same(metadata.get(name, _MISSING), value) for name, value in self._filter.items())


@lru_cache(maxsize=512)
def _page(given: frozenset[str], size: int) -> Select[Any]:
    c = checkpoints.c
    conditions: list[ColumnElement[bool]] = [
        c[name] == bindparam(name) for name in ("thread", "ns", "checkpoint_id") if name in given
    ]
    conditions += [
        or_(c[name] == bindparam(name), c[name].is_(None)) for name in ("source", "step") if name in given
    ]
    if "before" in given:
        conditions.append(c.checkpoint_id < bindparam("before"))
    order: list[ColumnElement[Any]] = [c.checkpoint_id.desc()]
    if {"thread", "ns"} <= given:
        if "after" in given:
            conditions.append(c.checkpoint_id < bindparam("after"))
    else:
        order += [c.thread, c.ns]
        if "after" in given:
            same_id = c.checkpoint_id == bindparam("after")
            same_thread = c.thread == bindparam("after_thread")
            later = or_(c.thread > bindparam("after_thread"), and_(same_thread, c.ns > bindparam("after_ns")))
            conditions.append(or_(c.checkpoint_id < bindparam("after"), and_(same_id, later)))
    query = select(*_ADDRESS, *_ROW).where(*conditions).order_by(*order)
    # Not bound: of a limit that it does not see, PostgreSQL expects a tenth of the rows, and sorts them all.
    return query.limit(literal_column(str(size)))
