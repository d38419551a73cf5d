"""The worker graph: generate → verify → repair once; with tools, generate ⇄ tools → verify."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.graph import END, START, StateGraph

from stellwerk.effects import EffectJournal, InMemoryEffectJournal
from stellwerk.graphs.observed import ObservedBuilder
from stellwerk.nodes.generate import generate_step, repair_step
from stellwerk.nodes.people import ANSWER, APPROVE
from stellwerk.nodes.remote import remote_step
from stellwerk.nodes.results_cache import ResultsCache, may_cache
from stellwerk.nodes.state import (
    AttemptInput,
    AttemptOutput,
    RemoteWorkerState,
    ToolWorkerState,
    WorkerInput,
    WorkerOutput,
    WorkerState,
)
from stellwerk.nodes.tool_loop import tool_loop_step
from stellwerk.nodes.tool_step import ToolStep
from stellwerk.nodes.tracing import Tracer
from stellwerk.nodes.unknown_value import unknown_value_step
from stellwerk.nodes.verify import verify_step
from stellwerk.nodes.worker_approval import alone_step
from stellwerk.observer import Observer, Part, SubtaskPart
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker

WorkerGraph = StateGraph[Any, Any, Any, Any]


class WorkerRun(ObservedBuilder):
    """A worker that runs alone."""

    worker = ""

    def part(self, name: str, thread_id: str) -> Part:
        """As a subtask without a plan."""
        return SubtaskPart(subtask="", worker=self.worker)


def create_worker_graph(
    worker: Worker,
    ladder: Ladder,
    *,
    traces: TraceSink | None = None,
    effects: EffectJournal | None = None,
    cache: ResultsCache | None = None,
    observers: Sequence[Observer] = (),
) -> WorkerGraph:
    """A worker as a graph that makes one attempt on one tier.

    Compile it to run a worker on its own: its input is `{"instruction": ..., "documents": [...]}` and
    optionally a `tier` (the smallest if absent); its output has the `value`, the `verdict` and the
    `calls`, and `people` where a person may be asked.

    Args:
        worker: what to ask and how to check it.
        ladder: the tiers that an attempt may run on.
        traces: gets the attempt of a worker that runs alone; inside an orchestrator, give it there.
        effects: keeps what its tools wrote to once, such as a `SQLAlchemyEffectJournal`; if None, one of this
            process, which a crash does not outlive.
        cache: serves answers that were accepted before.
        observers: are told of the attempt and its parts; inside an orchestrator, give them there.
    """
    tracer = Tracer(traces, {worker.name: worker}, ladder) if traces is not None else None
    gives = AttemptOutput if worker.asks_people or worker.remote is not None else WorkerOutput
    graph = WorkerRun(_state_of(worker), input_schema=WorkerInput, output_schema=gives)
    graph.observers, graph.tiers, graph.worker = tuple(observers), ladder.names, worker.name
    return _built(graph, worker, ladder, effects or InMemoryEffectJournal(), tracer, cache, alone=True)


def create_attempt_graph(
    worker: Worker, ladder: Ladder, journal: EffectJournal, cache: ResultsCache | None = None
) -> WorkerGraph:
    """A worker as a graph inside a subtask, whose router sets the terms of an attempt."""
    gives = AttemptOutput if worker.tools or worker.remote is not None else WorkerOutput
    graph: WorkerGraph = StateGraph(_state_of(worker), input_schema=AttemptInput, output_schema=gives)
    return _built(graph, worker, ladder, journal, None, cache, alone=False)


def _state_of(worker: Worker) -> type[WorkerState]:
    if worker.remote is not None:
        return RemoteWorkerState
    return ToolWorkerState if worker.tools else WorkerState


def _built(
    graph: WorkerGraph,
    worker: Worker,
    ladder: Ladder,
    journal: EffectJournal,
    tracer: Tracer | None,
    cache: ResultsCache | None,
    *,
    alone: bool,
) -> WorkerGraph:
    # No context_schema, although the brief may come as context: a server passes {} to a graph that runs
    # alone, and LangGraph would make a Brief of it.
    first = "remote" if worker.remote is not None else "generate"
    asks = alone and worker.asks_people
    if asks:  # inside a subtask, it is the subtask that asks
        graph.add_node(APPROVE, alone_step(worker, first), destinations=(first, END))
        graph.add_edge(START, APPROVE)
    else:
        graph.add_edge(START, first)
    if asks and worker.ask:
        graph.add_node(ANSWER, unknown_value_step({worker.name: worker}, alone=True))
        graph.add_edge(ANSWER, END)
    ends = (ANSWER, END) if asks and worker.ask else (END,)
    if worker.remote is not None:
        remote = remote_step(worker, ladder, tracer, alone=alone)
        graph.add_node("remote", remote, destinations=("remote", *ends))
        return graph
    cache = cache if may_cache(worker) else None
    if worker.tools:
        onwards = ("tools", "generate", "verify")
        loop = tool_loop_step(worker, ladder, forgets=alone and not asks)
        graph.add_node("generate", loop, destinations=onwards)
        graph.add_node("tools", ToolStep(worker, journal), destinations=("generate", "tools"))
    else:
        graph.add_node("generate", generate_step(worker, ladder, cache))
        graph.add_edge("generate", "verify")
    graph.add_node(
        "verify", verify_step(worker, ladder, tracer, cache, alone=alone), destinations=("repair", *ends)
    )
    graph.add_node("repair", repair_step(worker, ladder))
    graph.add_edge("repair", "verify")
    return graph
