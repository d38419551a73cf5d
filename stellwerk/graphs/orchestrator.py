"""The orchestrator graph: supervisor → execute → supervisor → synthesize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from stellwerk.budget import Budget
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.subtask import create_subtask_graph
from stellwerk.nodes.execute import execute_node
from stellwerk.nodes.state import OrchestratorInput, OrchestratorOutput, OrchestratorState
from stellwerk.nodes.supervisor import supervisor_step
from stellwerk.nodes.synthesize import Synthesizer, synthesize_step
from stellwerk.nodes.tracing import Tracer
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker

# Waiting subtasks hold a thread each in a sync run, and LangGraph's pool has cores + 4 of them.
# Tiers do the throttling, so the pool must not.
_MAX_CONCURRENCY = 4096

_RESERVED = {"router", "__start__", "__end__"}


class Orchestrator(StateGraph[Any, Any, Any, Any]):
    """A state graph that compiles with room for every subtask of a plan to wait at once."""

    def compile(self, *args: Any, **kwargs: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
        """As `StateGraph.compile`."""
        return super().compile(*args, **kwargs).with_config(max_concurrency=_MAX_CONCURRENCY)


def create_orchestrator(
    workers: Sequence[Worker],
    ladder: Ladder,
    *,
    router: Router | None = None,
    planner: Tier | None = None,
    synthesizer: Synthesizer = "model",
    budget: Budget | None = None,
    fallback: str | None = None,
    max_subtasks: int = 50,
    max_tokens: int = 2048,
    traces: TraceSink | None = None,
) -> Orchestrator:
    """Build the orchestrator, uncompiled: `create_orchestrator(...).compile(checkpointer=...)`.

    The input is `{"task": ..., "documents": [...]}` or `{"messages": [...]}`, and optionally a ready
    `plan`; the output has `answer`, `results`, `failure`, `plan`, `ledger` and `messages`.

    Args:
        workers: who can do what; the planner sees their names and descriptions.
        ladder: the tiers, cheapest first.
        router: picks the tier of each attempt; `SmallestFirst()` if None.
        planner: the tier that plans and merges; the largest if None.
        synthesizer: `"model"`, `"join"`, a template over subtask ids, or a function.
        budget: limits of each subtask; one attempt per tier if None.
        fallback: the worker that gets the whole task when no plan can be made; the last one if None.
        max_subtasks: at most this many in a plan made by the planner.
        max_tokens: of a plan or a merged answer.
        traces: gets every attempt as it ends, and where the run stands; such as a `TraceStore`.

    Raises:
        ConfigurationError: if there is no worker, if two share a name, or if `fallback` is unknown.
    """
    if not workers:
        raise ConfigurationError("the orchestrator has no worker; give it at least one")
    by_name = {worker.name: worker for worker in workers}
    if len(by_name) < len(workers):
        raise ConfigurationError(f"workers share a name: {', '.join(worker.name for worker in workers)}")
    if taken := _RESERVED & by_name.keys():
        raise ConfigurationError(f"a worker cannot be named {min(taken)!r}; the graph uses that name")
    fallback = fallback or workers[-1].name
    if fallback not in by_name:
        raise ConfigurationError(f"fallback {fallback!r} is no worker; workers: {', '.join(by_name)}")
    planner = planner or ladder.largest
    tracer = Tracer(traces, by_name, ladder) if traces is not None else None
    router, budget = router or SmallestFirst(), budget or Budget()
    subtasks = create_subtask_graph(by_name, ladder, router, budget, tracer).compile(name="subtask")
    graph = Orchestrator(OrchestratorState, input_schema=OrchestratorInput, output_schema=OrchestratorOutput)
    graph.add_node(
        "supervisor",
        supervisor_step(
            by_name,
            planner,
            fallback=fallback,
            max_subtasks=max_subtasks,
            max_tokens=max_tokens,
            tracer=tracer,
        ),
        destinations=("execute", "synthesize"),
    )
    graph.add_node("execute", execute_node(subtasks, tracer))
    graph.add_node("synthesize", synthesize_step(ladder, planner, synthesizer, max_tokens, tracer))
    graph.add_edge(START, "supervisor")
    graph.add_edge("execute", "supervisor")
    graph.add_edge("synthesize", END)
    return graph
