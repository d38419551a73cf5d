"""The subtask graph: router → worker → accepted, or back to the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from stellwerk.budget import Budget
from stellwerk.effects import EffectJournal, InMemoryEffectJournal
from stellwerk.graphs.worker import create_attempt_graph
from stellwerk.nodes.people import ANSWER, APPROVE
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.nodes.route import AfterAttempt, route_step
from stellwerk.nodes.state import SubtaskInput, SubtaskState
from stellwerk.nodes.tracing import Tracer
from stellwerk.nodes.unknown_value import unknown_value_step
from stellwerk.nodes.worker_approval import approval_step
from stellwerk.routers.router import Router, cascades
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker


def create_subtask_graph(
    workers: Mapping[str, Worker],
    ladder: Ladder,
    router: Router,
    budget: Budget,
    tracer: Tracer | None = None,
    effects: EffectJournal | None = None,
    cache: ResultsCache | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """One compiled graph serves every subtask: a router, and one subgraph per worker.

    Where a worker wants people asked, there are nodes in which they are.
    """
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(SubtaskState, input_schema=SubtaskInput)
    names, journal = list(workers), effects or InMemoryEffectJournal()
    route = route_step(dict(workers), ladder, router, budget, tracer)
    onwards = [END]
    if any(worker.approve for worker in workers.values()):
        graph.add_node(APPROVE, approval_step(workers), destinations=("router", END))
        onwards.append(APPROVE)
    if any(worker.ask for worker in workers.values()):
        graph.add_node(ANSWER, unknown_value_step(workers))
        graph.add_edge(ANSWER, END)
        onwards.append(ANSWER)
    graph.add_node("router", route, destinations=(*names, *onwards))
    graph.add_edge(START, "router")
    for name, worker in workers.items():
        graph.add_node(name, create_attempt_graph(worker, ladder, journal, cache).compile(name=name))
        graph.add_conditional_edges(
            name,
            AfterAttempt(worker, tracer, cascade=cascades(router)),
            ["router", END, ANSWER] if worker.ask else ["router", END],
        )
    return graph
