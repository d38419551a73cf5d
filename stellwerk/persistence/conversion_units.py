"""What the log of the conversion does to the database, each a function of a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, select, update

from stellwerk.errors import InputError
from stellwerk.persistence import json_value
from stellwerk.persistence.insert import insert_or_keep
from stellwerk.persistence.schema.columns import digest
from stellwerk.persistence.schema.conversion import conversions

Row = Any  # of SQLAlchemy's; its columns are those of the statement

Step = Literal["collect", "curate", "cluster", "select", "tune", "promote", "forget", "retain"]
STEPS: tuple[Step, ...] = get_args(Step)
StepState = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A step of the conversion that ran, or runs.

    Args:
        id: 32 hexadecimal digits.
        step: which one.
        state: `running`, also of one whose process died; `done` or `failed`.
        parameters: what it was asked, as JSON.
        cursor: how far it is, as JSON of its own; None where it has not begun, or needs none.
        counts: figures by their names.
        report: what came of it, as JSON: figures and names, and never what people said.
        error: what went wrong.
        started_at: when.
        updated_at: when it told of itself last.
    """

    id: str
    step: Step
    state: StepState
    parameters: dict[str, Any]
    cursor: Any
    counts: dict[str, int]
    report: dict[str, Any] | None
    error: str | None
    started_at: datetime
    updated_at: datetime


def begin(
    connection: Connection, name: bytes, step: Step, parameters: Mapping[str, Any], *, resume: bool
) -> Conversion:
    """A step begins under a name, or the last one like it goes on that did not end well."""
    if step not in STEPS:
        raise InputError(f"there is no step {step!r}; give one of {', '.join(STEPS)}")
    told = json_value.dump(json_value.plain(parameters, "the parameters"), "the parameters")
    asked = digest(json.dumps(json.loads(told), sort_keys=True))
    now = datetime.now(UTC)
    if resume:
        c = conversions.c
        query = select(c.conversion).where(c.step == step, c.asked == asked, c.state != "done")
        found = connection.execute(query.order_by(c.started_at.desc()).limit(1)).scalar()
        if found is not None:
            again = {"state": "running", "error": None, "updated_at": now}
            connection.execute(update(conversions).where(c.conversion == found).values(**again))
            return _one(connection, bytes(found))
    row = {
        "conversion": name,
        "step": step,
        "state": "running",
        "parameters": told,
        "asked": asked,
        "counts": "{}",
        "started_at": now,
        "updated_at": now,
    }
    connection.execute(insert_or_keep(connection.dialect.name, conversions), row)
    return _one(connection, name)


def tell(
    connection: Connection,
    id: str,
    *,
    state: StepState,
    cursor: Any,
    counts: Mapping[str, int] | None,
    report: Mapping[str, Any] | None,
    error: str | None,
) -> Conversion:
    """How a step stands; what is None stays as it was."""
    values: dict[str, Any] = {"state": state, "error": error, "updated_at": datetime.now(UTC)}
    for name, told in (("cursor", cursor), ("counts", counts), ("report", report)):
        if told is not None:
            values[name] = json_value.dump(json_value.plain(told, f"the {name}"), f"the {name}")
    key = _key(id)
    connection.execute(update(conversions).where(conversions.c.conversion == key).values(**values))
    return _one(connection, key)


def listing(connection: Connection, step: Step | None, limit: int | None) -> list[Conversion]:
    """Steps, newest first."""
    c = conversions.c
    query = select(conversions).order_by(c.started_at.desc(), c.conversion).limit(limit)
    if step is not None:
        query = query.where(c.step == step)
    return [_conversion(row) for row in connection.execute(query)]


def _one(connection: Connection, key: bytes) -> Conversion:
    row = connection.execute(select(conversions).where(conversions.c.conversion == key)).one_or_none()
    if row is None:
        raise InputError(f"no step of the conversion has the id {key.hex()!r}; see: stellwerk convert status")
    return _conversion(row)


def _key(id: str) -> bytes:
    try:
        return bytes.fromhex(id)
    except ValueError:
        raise InputError(f"the id of a step is {id!r}; give 32 hexadecimal digits") from None


def _conversion(row: Row) -> Conversion:
    return Conversion(
        id=bytes(row.conversion).hex(),
        step=row.step,
        state=row.state,
        parameters=json.loads(row.parameters),
        cursor=None if row.cursor is None else json.loads(row.cursor),
        counts=json.loads(row.counts),
        report=None if row.report is None else json.loads(row.report),
        error=row.error,
        started_at=row.started_at,
        updated_at=row.updated_at,
    )
