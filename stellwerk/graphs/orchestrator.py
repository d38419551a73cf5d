"""The orchestrator graph: supervisor → execute → supervisor → synthesize."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from langgraph.graph import END, START
from langgraph.store.base import BaseStore

from stellwerk.budget import Budget, RunBudget
from stellwerk.effects import EffectJournal
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.observed import ObservedBuilder, ObservedGraph
from stellwerk.graphs.subtask import create_subtask_graph
from stellwerk.nodes.execute import execute_node
from stellwerk.nodes.known_plans import KnownPlans
from stellwerk.nodes.planner import Planner
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.nodes.state import OrchestratorInput, OrchestratorOutput, OrchestratorState
from stellwerk.nodes.supervisor import supervisor_step
from stellwerk.nodes.synthesize import Synthesizer, synthesize_step
from stellwerk.nodes.terms import prices_of
from stellwerk.nodes.tracing import Tracer
from stellwerk.observer import Observer
from stellwerk.plan import MOST_REPLANS
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.run_options import RunOptions
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Tier
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker
from stellwerk.workers.asking import asking_people

# Waiting subtasks hold a thread each in a sync run, and LangGraph's pool has cores + 4 of them.
# Tiers do the throttling, so the pool must not.
_MAX_CONCURRENCY = 4096

_RESERVED = {"router", "__start__", "__end__"}


class Orchestrator(ObservedBuilder):
    """A state graph that compiles with room for every subtask of a plan to wait at once."""

    def compile(self, *args: Any, **kwargs: Any) -> ObservedGraph:
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
    run_budget: RunBudget | None = None,
    fallback: str | None = None,
    max_subtasks: int = 50,
    max_tokens: int = 2048,
    replans: int = 0,
    plans: BaseStore | None = None,
    traces: TraceSink | None = None,
    cache: ResultsCache | None = None,
    observers: Sequence[Observer] = (),
    effects: EffectJournal | None = None,
    approve: Collection[str] = (),
    ask: bool | Collection[str] = False,
) -> Orchestrator:
    """Build the orchestrator, uncompiled: `create_orchestrator(...).compile(checkpointer=...)`.

    The input is `{"task": ..., "documents": [...]}` or `{"messages": [...]}`, and optionally a ready
    `plan` and a `budget` of the run; the output has `answer`, `results`, `failure`, `plan`, `ledger` and
    `messages`. The context of a run is `RunOptions`, or a mapping of them.

    Args:
        workers: who can do what; the planner sees their names and descriptions.
        ladder: the tiers, cheapest first.
        router: picks the tier of each attempt; `SmallestFirst()` if None.
        planner: the tier that plans and merges; the largest if None.
        synthesizer: `"model"`, `"join"`, a template over subtask ids, or a function.
        budget: limits of each subtask; one attempt per tier if None.
        run_budget: limits of each run, which an input may tighten with a `budget` of its own; none if None.
        fallback: the worker that gets the whole task when no plan can be made; the last one if None.
        max_subtasks: at most this many in a plan made by the planner.
        max_tokens: of a plan or a merged answer.
        replans: how often, in a run, the planner may put other subtasks in the place of those that gave no
            result, also of a plan that the caller gave; what is accepted is kept.
        plans: keeps plans that did a task wholly, and gives them for the same task again without asking the
            planner; such as a `SQLAlchemyStore`. None to plan each task.
        traces: gets every attempt as it ends, and where the run stands; such as a `TraceStore`.
        cache: serves answers that were accepted before; none if None.
        observers: are told of runs and their parts while they go on; such as `OpenTelemetry()`.
        effects: keeps what tools wrote to once, such as a `SQLAlchemyEffectJournal`; if None, one of this
            process, which a crash does not outlive.
        approve: before what a person is asked: names of workers, and of tools as `worker.tool`, or as the
            tool's name where only one worker has it. The graph then needs a checkpointer, as for `ask`.
        ask: whether, or for which workers, a person is asked for what a worker does not know; see
            `create_worker`, where both can be said as well.

    Raises:
        ConfigurationError: if there is no worker, if two share a name, if `fallback` or a name in `approve`
            or `ask` is unknown, or `replans` out of range.
    """
    if not workers:
        raise ConfigurationError("the orchestrator has no worker; give it at least one")
    by_name = {worker.name: worker for worker in workers}
    if len(by_name) < len(workers):
        raise ConfigurationError(f"workers share a name: {', '.join(worker.name for worker in workers)}")
    if taken := _RESERVED & by_name.keys():
        raise ConfigurationError(f"a worker cannot be named {min(taken)!r}; the graph uses that name")
    by_name = asking_people(by_name, approve, ask)
    fallback = fallback or workers[-1].name
    if fallback not in by_name:
        raise ConfigurationError(f"fallback {fallback!r} is no worker; workers: {', '.join(by_name)}")
    if not 0 <= replans <= MOST_REPLANS:
        raise ConfigurationError(f"replans is {replans}; give 0 to {MOST_REPLANS}")
    planner = planner or ladder.largest
    prices = prices_of((*ladder, planner))
    tracer = Tracer(traces, by_name, ladder) if traces is not None else None
    router, budget = router or SmallestFirst(), budget or Budget()
    subtasks = create_subtask_graph(by_name, ladder, router, budget, tracer, effects, cache).compile(
        name="subtask"
    )
    graph = Orchestrator(
        OrchestratorState,
        context_schema=RunOptions,
        input_schema=OrchestratorInput,
        output_schema=OrchestratorOutput,
    )
    graph.observers, graph.tiers = tuple(observers), ladder.names
    graph.add_node(
        "supervisor",
        supervisor_step(
            Planner(
                workers=by_name,
                tier=planner,
                fallback=fallback,
                max_subtasks=max_subtasks,
                max_tokens=max_tokens,
            ),
            ladder,
            replans=replans,
            known=KnownPlans(plans, by_name) if plans is not None else None,
            budget=run_budget or RunBudget(),
            prices=prices,
            tracer=tracer,
        ),
        destinations=("execute", "synthesize"),
    )
    graph.add_node("execute", execute_node(subtasks, by_name, prices, tracer))
    graph.add_node("synthesize", synthesize_step(ladder, planner, synthesizer, max_tokens, tracer))
    graph.add_edge(START, "supervisor")
    graph.add_edge("execute", "supervisor")
    graph.add_edge("synthesize", END)
    return graph
