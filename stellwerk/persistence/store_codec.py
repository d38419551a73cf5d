"""How items become rows, and rows items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from langgraph.store.base import Item, PutOp, SearchItem

from stellwerk.errors import InputError
from stellwerk.persistence.json_value import dump, load, plain
from stellwerk.persistence.schema.columns import MAX_KEY, digest, text

Row = Any  # of `stellwerk_items`


@dataclass(frozen=True, slots=True)
class Found:
    """A row that was found, with its value, and its score if it was ranked."""

    row: Row
    value: dict[str, Any]
    score: float | None = None

    @classmethod
    def of(cls, row: Row, score: float | None = None) -> Found:
        """A row with its value decoded."""
        return cls(row, load(row.value), score)

    def item(self) -> Item:
        """As `get` gives it."""
        row = self.row
        return Item(
            value=self.value,
            key=text(row.key),
            namespace=namespace(row.namespace, row.namespace_rest),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def search_item(self) -> SearchItem:
        """As `search` gives it."""
        row = self.row
        return SearchItem(
            namespace(row.namespace, row.namespace_rest),
            text(row.key),
            self.value,
            row.created_at,
            row.updated_at,
            self.score,
        )


def joined(labels: Iterable[str]) -> bytes:
    """A namespace as bytes; no label contains the dot between them."""
    return ".".join(labels).encode("utf-8", "surrogatepass")


def split(whole: bytes) -> tuple[bytes, bytes]:
    """The two columns of a namespace: as much as an index takes, and the rest."""
    return whole[:MAX_KEY], whole[MAX_KEY:]


def namespace(head: bytes, rest: bytes) -> tuple[str, ...]:
    """The labels of a namespace."""
    whole = text(bytes(head) + bytes(rest))
    return tuple(whole.split(".")) if whole else ()


def item_id(labels: Sequence[str], key: str) -> bytes:
    """The primary key of an item."""
    if not isinstance(key, str):
        raise InputError(f"the key {key!r} is a {type(key).__name__}; use text")
    return digest(".".join(labels)) + digest(key)


def item_row(op: PutOp, now: datetime) -> dict[str, Any]:
    """The row of an item to be stored.

    Raises:
        InputError: if its value is not JSON, or its lifetime is no number of minutes.
    """
    what = f"the value of {op.key!r} in {op.namespace!r}"
    if not isinstance(op.value, Mapping):
        raise InputError(f"{what} is a {type(op.value).__name__}; store a dict")
    head, rest = split(joined(op.namespace))
    return {
        "item": item_id(op.namespace, op.key),
        "namespace": head,
        "namespace_rest": rest,
        "key": op.key.encode("utf-8", "surrogatepass"),
        "value": dump(plain(op.value, what), what),
        "created_at": now,
        "updated_at": now,
        "expires_at": None if op.ttl is None else expiry(op.ttl, now),
        "ttl_minutes": None if op.ttl is None else float(op.ttl),
    }


def expiry(ttl: float, now: datetime) -> datetime:
    """When something expires that lives for so many minutes.

    Raises:
        InputError: if it is no number above 0, or of years without end.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0 or math.isinf(ttl):
        raise InputError(f"the ttl is {ttl!r}; give minutes above 0, or None for an item that stays")
    try:
        return now + timedelta(minutes=ttl)
    except OverflowError:
        raise InputError(f"the ttl of {ttl!r} minutes ends after the year 9999; give None instead") from None
