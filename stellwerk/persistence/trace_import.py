"""Traces from elsewhere, which are written at once, and each only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import select

from stellwerk.persistence import trace_units as units
from stellwerk.persistence.retry import passes
from stellwerk.persistence.trace_codec import ToldRow
from stellwerk.persistence.trace_units import Added
from stellwerk.persistence.traces import TraceStore
from stellwerk.trace import AttemptTrace, FeedbackTrace, RunTrace

T = TypeVar("T")


def add_traces(
    store: TraceStore,
    attempts: Sequence[AttemptTrace],
    runs: Sequence[RunTrace] = (),
    feedback: Sequence[FeedbackTrace] = (),
) -> Added:
    """Write a few hundred traces; what is there already stays, and of runs the latest word counts.

    Args:
        store: to write to; its consents hold.
        attempts: with ids that follow from what they are, so that they are written once.
        runs: that they belong to.
        feedback: on either.

    Raises:
        DatabaseError: if the database fails.
    """
    told, refused = _rows(store.codec.attempt, attempts)
    began, _ = _rows(store.codec.run, runs)
    said, _ = _rows(store.codec.feedback, feedback)
    return _bring(store, told, began, said) + Added(refused=refused)


def _rows(make: Callable[[T], ToldRow], traces: Sequence[T]) -> tuple[list[ToldRow], int]:
    rows = []
    for trace in traces:
        try:
            rows.append(make(trace))
        except Exception:  # noqa: S112  # one that cannot be stored must not take the others along
            continue
    return rows, len(traces) - len(rows)


def _bring(
    store: TraceStore, told: Sequence[ToldRow], began: Sequence[ToldRow], said: Sequence[ToldRow]
) -> Added:
    try:
        return store.database.write(lambda c: units.bring(c, told, began, said, unknown=store.keeps_unknown))
    except Exception as error:  # of the driver's own as well, as SQLite's OverflowError for 2**63
        if passes(error.__cause__ or error):
            raise
        store.database.read(lambda c: c.execute(select(1)))  # or no row is at fault
        if len(told) + len(began) + len(said) == 1:
            return Added(refused=len(told))
    found = Added()
    for row in told:
        found += _bring(store, [row], [], [])
    for row in began:
        found += _bring(store, [], [row], [])
    for row in said:
        found += _bring(store, [], [], [row])
    return found
