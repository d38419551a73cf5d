"""What a user runs."""

from stellwerk.graphs.orchestrator import Orchestrator, create_orchestrator
from stellwerk.graphs.worker import create_worker_graph

__all__ = ["Orchestrator", "create_orchestrator", "create_worker_graph"]
