"""Lines of a log say where in a run they were written."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from stellwerk.graphs import create_orchestrator
from stellwerk.logs import JsonFormatter, RunFilter
from stellwerk.worker import Brief
from tests.fakes import Said, always, ladder, make, plan, run, worker
from tests.observing.spans import Recorded

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-7"}, "metadata": {"run_id": "run-1"}}
log = logging.getLogger("program")


@pytest.fixture
def written() -> Iterator[StringIO]:
    text = StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFilter())
    log.addHandler(handler)
    yield text
    log.removeHandler(handler)


def lines(written: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def checks(answer: Said, brief: Brief) -> None:
    log.warning("checked %s", answer.text, extra={"colour": "green"})


def test_a_line_says_where_it_was_written(written: StringIO, sync: bool) -> None:
    made = create_orchestrator(
        [worker(checks=[checks])], ladder(always("no"), make), synthesizer="join"
    ).compile()
    run(made, {"task": "Do", "plan": plan(a="", b="")}, THREAD, sync=sync)
    log.warning("outside")
    *inside, outside = lines(written)
    assert sorted(line["subtask"] for line in inside) == ["a", "b"]
    for line in inside:
        expected = {
            "level": "warning",
            "logger": "program",
            "colour": "green",
            "run_id": "run-1",
            "thread_id": "thread-7",
            "worker": "make",
            "tier": "large",
            "attempt": 2,
        }
        assert expected.items() <= line.items()
        assert line["message"].startswith("checked made:")
    assert set(outside) == {"time", "level", "logger", "message"}


def test_a_line_names_the_span_it_belongs_to(written: StringIO, sync: bool) -> None:
    told = Recorded()
    made = create_orchestrator(
        [worker(checks=[checks])], ladder(make, make), synthesizer="join", observers=[told.observer]
    ).compile()
    run(made, {"task": "Do", "plan": plan(a="")}, THREAD, sync=sync)
    (line,) = lines(written)
    span = told.one("invoke_agent make").context
    assert span is not None
    assert (line["trace_id"], line["span_id"]) == (f"{span.trace_id:032x}", f"{span.span_id:016x}")


def test_errors_and_odd_values_are_one_line_each() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        error = sys.exc_info()
    # Not by the logger: pytest would keep the text, and could not send it from one process to another.
    record = log.makeRecord(
        "program", logging.ERROR, "file.py", 1, "lone \ud800 surrogate", (), error, extra={"path": object()}
    )
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "lone ? surrogate"
    assert line["error"].endswith("ValueError: two\nlines")
