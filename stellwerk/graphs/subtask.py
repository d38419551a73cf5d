"""The subtask graph: router → worker → accepted, or back to the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from stellwerk.budget import Budget
from stellwerk.graphs.worker import create_attempt_graph
from stellwerk.nodes.route import AfterAttempt, route_step
from stellwerk.nodes.state import SubtaskInput, SubtaskState
from stellwerk.nodes.tracing import Tracer
from stellwerk.routers.router import Router
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


def create_subtask_graph(
    workers: Mapping[str, Worker],
    ladder: Ladder,
    router: Router,
    budget: Budget,
    tracer: Tracer | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """One compiled graph serves every subtask: a router, and one subgraph per worker."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(SubtaskState, input_schema=SubtaskInput)
    names = list(workers)
    graph.add_node("router", route_step(dict(workers), ladder, router, budget), destinations=(*names, END))
    graph.add_edge(START, "router")
    for name, worker in workers.items():
        graph.add_node(name, create_attempt_graph(worker, ladder).compile(name=name))
        graph.add_conditional_edges(name, AfterAttempt(worker, tracer), ["router", END])
    return graph
