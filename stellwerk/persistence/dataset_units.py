"""What datasets do to the database, each a function of a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select

from stellwerk.errors import InputError
from stellwerk.persistence import json_value
from stellwerk.persistence.insert import insert_or_keep, insert_or_update
from stellwerk.persistence.schema.columns import key, text
from stellwerk.persistence.schema.conversion import adapters, datasets, examples
from stellwerk.persistence.trace_units import trace_key

Row = Any  # of SQLAlchemy's; its columns are those of the statement

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetExample:
    """A curated example.

    Args:
        trace_id: of the trace that it was made of.
        call_site: of that trace.
        split: what it is for.
        content: what is learned from, as JSON.
        origin: of that trace: 32 hexadecimal digits, or empty; without it, nobody finds the example who
            forgets a person.
        created_at: when the trace ended; retention counts from there.
    """

    trace_id: str
    call_site: str
    split: Split
    content: dict[str, Any]
    origin: str = ""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredDataset:
    """A dataset.

    Args:
        name: of it.
        card: how it was made, as JSON; never what people said.
        created_at: when.
        splits: how many examples there are in each split.
    """

    name: str
    card: dict[str, Any]
    created_at: datetime
    splits: dict[str, int]


def add(connection: Connection, name: str, card: Mapping[str, Any]) -> StoredDataset:
    """Add a dataset, or put another card in the place of its."""
    row = {
        "dataset": key("dataset", name),
        "card": json_value.dump(json_value.plain(card, "the card"), "the card"),
        "created_at": datetime.now(UTC),
    }
    connection.execute(insert_or_update(connection.dialect.name, datasets, ("card",)), row)
    return get(connection, name)


def get(connection: Connection, name: str) -> StoredDataset:
    """The dataset of a name."""
    row = connection.execute(select(datasets).where(datasets.c.dataset == key("dataset", name))).one_or_none()
    if row is None:
        raise InputError(f"there is no dataset {name!r}; see: stellwerk convert status")
    return _dataset(connection, row)


def every(connection: Connection) -> list[StoredDataset]:
    """All datasets, newest first."""
    query = select(datasets).order_by(datasets.c.created_at.desc(), datasets.c.dataset)
    return [_dataset(connection, row) for row in connection.execute(query).all()]


def add_examples(connection: Connection, name: str, told: Sequence[DatasetExample]) -> None:
    """Add examples; of a trace that has one in the dataset already, that one stays."""
    dataset = key("dataset", name)
    rows = [
        {
            "dataset": dataset,
            "trace": _trace(each.trace_id),
            "origin": bytes.fromhex(each.origin) if each.origin else None,
            "call_site": key("call_site", each.call_site),
            "split": each.split,
            "content": json_value.dump(json_value.plain(each.content, "the content"), "the content"),
            "created_at": each.created_at,
        }
        for each in told
    ]
    if rows:
        connection.execute(insert_or_keep(connection.dialect.name, examples), rows)


def page(
    connection: Connection, name: str, split: Split | None, after: str, size: int
) -> list[DatasetExample]:
    """Examples in the order of their traces, after a trace."""
    c = examples.c
    query = select(examples).where(c.dataset == key("dataset", name))
    if after:
        query = query.where(c.trace > _trace(after))
    if split is not None:
        query = query.where(c.split == split)
    return [_example(row) for row in connection.execute(query.order_by(c.trace).limit(size))]


def discard(connection: Connection, name: str) -> None:
    """Delete a dataset on which no adapter rests."""
    dataset = key("dataset", name)
    query = select(adapters.c.adapter).where(adapters.c.dataset == dataset, adapters.c.state != "retired")
    resting = connection.execute(query.limit(1)).scalar()
    if resting is not None:
        raise InputError(
            f"the adapter {text(bytes(resting))} was trained on dataset {name!r}; retire it first"
        )
    connection.execute(delete(examples).where(examples.c.dataset == dataset))
    connection.execute(delete(datasets).where(datasets.c.dataset == dataset))


def _trace(trace_id: str) -> bytes:
    if (found := trace_key(trace_id)) is None:
        raise InputError(f"the id of a trace is {trace_id!r}; give 32 hexadecimal digits")
    return found


def _dataset(connection: Connection, row: Row) -> StoredDataset:
    query = select(examples.c.split, func.count()).where(examples.c.dataset == row.dataset)
    splits = {found[0]: found[1] for found in connection.execute(query.group_by(examples.c.split))}
    return StoredDataset(text(bytes(row.dataset)), json.loads(row.card), row.created_at, splits)


def _example(row: Row) -> DatasetExample:
    return DatasetExample(
        trace_id=bytes(row.trace).hex(),
        call_site=text(bytes(row.call_site)),
        split=row.split,
        content=json.loads(row.content),
        origin="" if row.origin is None else bytes(row.origin).hex(),
        created_at=row.created_at,
    )
