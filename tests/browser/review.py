"""A run of which the tests know how it went."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from tests.fakes import ladder, text_of, worker
from tests.report.runs import SHAPES, WORKERS

TASK = "Which risks explain the gap to our peers?"
HARD = "why"  # the first subtask that small is not able to do


def review(path: Path) -> None:
    """Run it: small cannot write, so that what is to be written takes two attempts."""

    def small(messages: Sequence[BaseMessage]) -> str:
        return "It depends." if "Do write." in text_of(messages) else json.dumps({"text": "4.5 percent"})

    def large(messages: Sequence[BaseMessage]) -> str:
        return json.dumps({"text": "Rents rose faster than sales."})

    plan = [
        {"id": name, "worker": by, "instruction": f"Find the {name}", "depends_on": needs.split()}
        for name, by, needs in SHAPES[3]
    ]
    given: dict[str, Any] = {"task": TASK, "plan": {"subtasks": plan}}
    with TraceStore.from_url(path) as traces:
        workers = [worker(name, repairs=0) for name in WORKERS]
        graph = create_orchestrator(workers, ladder(small, large), synthesizer="join", traces=traces)
        compiled = graph.compile(checkpointer=SQLAlchemySaver(traces.database))
        compiled.invoke(given, {"configurable": {"thread_id": "review"}})
