"""The worker graph: generate → verify → repair once; with tools, generate ⇄ tools → verify."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from stellwerk.nodes.generate import generate_step, repair_step
from stellwerk.nodes.state import AttemptInput, ToolWorkerState, WorkerInput, WorkerOutput, WorkerState
from stellwerk.nodes.tool_loop import tool_loop_step
from stellwerk.nodes.tool_step import ToolStep
from stellwerk.nodes.tracing import Tracer
from stellwerk.nodes.verify import verify_step
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker

WorkerGraph = StateGraph[Any, Any, Any, Any]


def create_worker_graph(worker: Worker, ladder: Ladder, *, traces: TraceSink | None = None) -> WorkerGraph:
    """A worker as a graph that makes one attempt on one tier.

    Compile it to run a worker on its own: its input is `{"instruction": ..., "documents": [...]}` and
    optionally a `tier` (the smallest if absent); its output has the `value`, the `verdict` and the
    `calls`.

    Args:
        worker: what to ask and how to check it.
        ladder: the tiers that an attempt may run on.
        traces: gets the attempt of a worker that runs alone; inside an orchestrator, give it there.
    """
    tracer = Tracer(traces, {worker.name: worker}, ladder) if traces is not None else None
    return _graph(worker, ladder, WorkerInput, tracer)


def create_attempt_graph(worker: Worker, ladder: Ladder) -> WorkerGraph:
    """A worker as a graph inside a subtask, whose router sets the terms of an attempt."""
    return _graph(worker, ladder, AttemptInput, None)


def _graph(worker: Worker, ladder: Ladder, given: type[WorkerInput], tracer: Tracer | None) -> WorkerGraph:
    # No context_schema, although the brief may come as context: a server passes {} to a graph that runs
    # alone, and LangGraph would make a Brief of it.
    state = ToolWorkerState if worker.tools else WorkerState
    graph: WorkerGraph = StateGraph(state, input_schema=given, output_schema=WorkerOutput)
    if worker.tools:
        onwards = ("tools", "generate", "verify")
        graph.add_node("generate", tool_loop_step(worker, ladder), destinations=onwards)
        graph.add_node("tools", ToolStep(worker), destinations=("generate", "tools"))
    else:
        graph.add_node("generate", generate_step(worker, ladder))
        graph.add_edge("generate", "verify")
    graph.add_node("verify", verify_step(worker, tracer), destinations=("repair", END))
    graph.add_node("repair", repair_step(worker, ladder))
    graph.add_edge(START, "generate")
    graph.add_edge("repair", "verify")
    return graph
