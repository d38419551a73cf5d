"""Examples from traces: what each later step of the conversion begins with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from typing_extensions import Unpack

from stellwerk.conversion.example import Example, example_of
from stellwerk.persistence import trace_units as units
from stellwerk.persistence.trace_codec import run_key
from stellwerk.persistence.traces import AttemptFilter, TraceStore
from stellwerk.trace import FEEDBACK_SOURCES, StoredAttempt

_PAGE = 200  # attempts looked up at once
_ENDED = {"ok": True, "failed": False}
_LABELS = {"right": 1.0, "wrong": 0.0}


def read_examples(
    traces: TraceStore, *, limit: int | None = None, newest_first: bool = False, **only: Unpack[AttemptFilter]
) -> Iterator[Example]:
    """Examples in order of time, each with how its run ended and what was said of it.

    Of several opinions, a known answer goes before a person's, and that before a judge's; then the newest
    counts, and one on the call before one on the whole run. Attempts of which the prompt is not kept are left
    out.

    Args:
        traces: to read from.
        limit: how many attempts are read at most.
        newest_first: or oldest first.
        **only: which attempts; the call site is the `worker`.

    Raises:
        DatabaseError: if the database fails.
    """
    attempts = traces.attempts(limit=limit, newest_first=newest_first, **only)
    while page := list(islice(attempts, _PAGE)):
        keys = [run_key(each["thread_id"], each["run_id"]) for each in page]
        names = [bytes.fromhex(each["trace_id"]) for each in page]
        ended = traces.database.read(lambda c, keys=keys: units.outcomes(c, list(set(keys))))  # type: ignore[misc]
        said = traces.database.read(
            lambda c, names=names, keys=keys: units.opinions(c, names, list(set(keys)))  # type: ignore[misc]
        )
        for attempt, key in zip(page, keys, strict=True):
            if (found := _example(attempt, key, ended.get(key), said)) is not None:
                yield found


async def aread_examples(
    traces: TraceStore, *, limit: int | None = None, newest_first: bool = False, **only: Unpack[AttemptFilter]
) -> AsyncIterator[Example]:
    """As `read_examples`."""
    examples = read_examples(traces, limit=limit, newest_first=newest_first, **only)
    while page := await asyncio.to_thread(lambda: list(islice(examples, _PAGE))):
        for example in page:
            yield example


def _example(attempt: StoredAttempt, key: bytes, outcome: str | None, said: Sequence[Any]) -> Example | None:
    trace = bytes.fromhex(attempt["trace_id"])
    own = [row for row in said if row.trace is not None and bytes(row.trace) == trace]
    whole = [row for row in said if row.trace is None and bytes(row.run) == key]
    return example_of(
        attempt,
        origin=attempt.get("origin") or "",
        succeeded=_ENDED.get(outcome or ""),
        score=_score(own, whole),
    )


def _score(own: Sequence[Any], whole: Sequence[Any]) -> float | None:
    """The strongest opinion; both are sorted by time."""
    found: dict[tuple[int, bool], float] = {}
    for about_call, rows in ((False, whole), (True, own)):
        for row in rows:
            score = _LABELS.get(row.label or "", row.score)
            if score is not None and 0 <= score <= 1:
                found[-FEEDBACK_SOURCES.index(row.source), about_call] = score
    return found[max(found)] if found else None
