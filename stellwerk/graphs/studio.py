"""Graphs for LangGraph Studio and its server, as `langgraph.json` names them.

They are compiled without a checkpointer, as the server brings its own. All of it is made when this module is
imported, and not when a graph is asked for: that is in the server's event loop, which must not wait for a
file of settings, a key, a worker's module or a database. The ladder is one for all graphs, so that a model is
loaded once and its concurrency limit holds.
"""

from __future__ import annotations

from stellwerk.graphs.declared_errors import with_errors
from stellwerk.graphs.default import configured_workers, default_ladder, default_orchestrator, default_workers
from stellwerk.graphs.kept import declared_keeping, of_several_owners
from stellwerk.graphs.recorded import RecordedGraph, recorded
from stellwerk.graphs.studio_storage import traces
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.observing.configured import configured_observers, start_exporting
from stellwerk.persistence.owned import note_thread
from stellwerk.settings import Settings
from stellwerk.workers.asking import asking_people

_SETTINGS = of_several_owners(Settings.load())
_LADDER = default_ladder(_SETTINGS)
_WORKERS = configured_workers(_SETTINGS)
_KEPT = declared_keeping(_SETTINGS, _WORKERS)
_TRACES = traces()
start_exporting(_SETTINGS)
_OBSERVERS = configured_observers(_SETTINGS)


def _note_owner(owner: str, thread: str) -> None:
    note_thread(_TRACES.database, owner, thread)


def _worker(name: str) -> RecordedGraph:
    worker = with_errors(_SETTINGS, next(worker for worker in default_workers() if worker.name == name))
    # Among all, as the settings may name others.
    all_workers = {**{each.name: each for each in _WORKERS}, name: worker}
    worker = asking_people(all_workers, _SETTINGS.people.approve, _SETTINGS.people.ask)[name]
    cache = _KEPT.get("cache")
    graph = create_worker_graph(worker, _LADDER, cache=cache, traces=_TRACES, observers=_OBSERVERS)
    return recorded(graph.compile(name=name), _note_owner)


_ORCHESTRATOR = default_orchestrator(_SETTINGS, ladder=_LADDER, observers=_OBSERVERS, traces=_TRACES, **_KEPT)

orchestrator = recorded(_ORCHESTRATOR.compile(name="orchestrator"), _note_owner)
"""Plan a task, run each subtask on the smallest tier that does it well, and merge the results."""

extract = _worker("extract")
"""Copy facts out of the documents."""

look_up = _worker("look_up")
"""Read cells of a table."""

calculate = _worker("calculate")
"""Compute a number from figures in the documents."""

summarise = _worker("summarise")
"""Summarise the documents."""

write = _worker("write")
"""Write a text from results and documents."""
