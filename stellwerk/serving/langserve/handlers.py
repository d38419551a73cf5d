"""LangServe's handlers: one for each graph, made when it is first asked for."""

from __future__ import annotations

from langserve import APIHandler

from stellwerk.serving.langserve.chosen import specs
from stellwerk.serving.langserve.given import OrchestratorGiven, WorkerGiven
from stellwerk.serving.langserve.graph import ServedGraph
from stellwerk.serving.langserve.orchestrator import ServedOrchestrator
from stellwerk.serving.langserve.shown import Json, OrchestratorGives, WorkerGives
from stellwerk.serving.langserve.workers import ServedWorker
from stellwerk.serving.service import Service


class Handlers:
    """Of an application. They stay when it starts anew: they know the names of graphs, not the graphs."""

    def __init__(self) -> None:
        self._made: dict[str, APIHandler] = {}

    def orchestrator(self, service: Service) -> APIHandler:
        """That of the orchestrator."""
        path = "/orchestrator"
        if path not in self._made:
            chosen = specs(service.probed.ladder.names)
            self._add(path, ServedOrchestrator("orchestrator", OrchestratorGiven, OrchestratorGives, chosen))
        return self._made[path]

    def worker(self, service: Service, name: str) -> APIHandler:
        """That of a worker.

        Raises:
            Problem: if there is none of this name.
        """
        service.worker(name)
        path = f"/workers/{name}"
        if path not in self._made:
            self._add(path, ServedWorker(name, WorkerGiven, WorkerGives))
        return self._made[path]

    def _add(self, path: str, graph: ServedGraph) -> None:
        self._made[path] = APIHandler(graph, path=path, serializer=Json())
