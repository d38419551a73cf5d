"""Examples know how their run ended, and what was said of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stellwerk.conversion import reading
from stellwerk.conversion.example import Example
from stellwerk.conversion.reading import aread_examples, read_examples
from stellwerk.persistence.traces import TraceStore
from tests.persistence.traces import attempt, run


@pytest.fixture
def traces() -> Iterator[TraceStore]:
    with TraceStore.from_url("sqlite://") as store:
        for number, outcome in enumerate(("ok", "failed", "interrupted", "running", None)):
            store.attempt(attempt(number, run_id=f"run-{number}"))
            if outcome is not None:
                store.run(run(f"run-{number}", outcome=outcome))
        store.flush()
        yield store


def examples(traces: TraceStore, **only: Any) -> list[Example]:
    return list(read_examples(traces, **only))


def test_an_example_has_the_end_of_its_run_and_its_origin(traces: TraceStore) -> None:
    found = examples(traces)
    assert [each.succeeded for each in found] == [True, False, None, None, None]
    assert {each.origin for each in found} == {next(traces.attempts())["origin"]}
    assert (found[0].call_site, found[0].tools, found[0].value) == ("extract", ["look"], {"text": "five"})
    assert [each.score for each in found] == [None] * 5


def test_the_strongest_opinion_counts_and_of_these_the_newest(traces: TraceStore) -> None:
    first, second, third, fourth, _ = (each.trace_id for each in examples(traces))
    traces.add_feedback(first, score=0.0, source="judge")
    traces.add_feedback(first, score=0.25, source="person")
    traces.add_feedback("run-0", score=0.5, source="person")
    traces.add_feedback(second, score=0.0, source="person")
    traces.add_feedback("run-1", score=1.0, source="gold")
    traces.add_feedback(third, score=0.1, source="person")
    traces.add_feedback(third, label="right", source="person")
    traces.add_feedback(fourth, score=7.0, source="person")
    assert [each.score for each in examples(traces)] == [0.25, 1.0, 1.0, None, None]


def test_what_has_no_prompt_is_left_out_and_pages_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE", 2)
    with TraceStore.from_url("sqlite://", content="none") as bare:
        bare.attempt(attempt(1))
        assert examples(bare) == []
    with TraceStore.from_url("sqlite://") as traces:
        for number in range(5):
            traces.attempt(attempt(number, worker="a" if number else "b"))
        assert len(examples(traces, worker="a")) == 4
        assert len(examples(traces, limit=3)) == 3


async def test_they_are_read_in_async_code(traces: TraceStore) -> None:
    assert [each async for each in aread_examples(traces)] == examples(traces)
