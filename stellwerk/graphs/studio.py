"""Graphs for LangGraph Studio and its server, as `langgraph.json` names them.

They are compiled without a checkpointer, as the server brings its own. The server calls a factory for
each request; the ladder is made once, so that a model is loaded once and its concurrency limit holds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from stellwerk.graphs.default import configured_workers, default_ladder, default_orchestrator, default_workers
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.settings import Settings

Graph = CompiledStateGraph[Any, Any, Any, Any]


# When this module is imported, and not when a graph is asked for: that is in the server's event loop, which
# must not wait for a file of settings, a key or a worker's module.
_SETTINGS = Settings.load()
_LADDER = default_ladder(_SETTINGS)
configured_workers(_SETTINGS)


@cache
def orchestrator() -> Graph:
    """Plan a task, run each subtask on the smallest tier that does it well, and merge the results."""
    return default_orchestrator(_SETTINGS, ladder=_LADDER).compile(name="orchestrator")


@cache
def _worker(name: str) -> Graph:
    worker = next(worker for worker in default_workers() if worker.name == name)
    return create_worker_graph(worker, _LADDER).compile(name=name)


def extract() -> Graph:
    """Copy facts out of the documents."""
    return _worker("extract")


def look_up() -> Graph:
    """Read cells of a table."""
    return _worker("look_up")


def calculate() -> Graph:
    """Compute a number from figures in the documents."""
    return _worker("calculate")


def summarise() -> Graph:
    """Summarise the documents."""
    return _worker("summarise")


def write() -> Graph:
    """Write a text from results and documents."""
    return _worker("write")
