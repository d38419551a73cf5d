"""What is chosen for one run: tiers, router, limits, replans, cache."""

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore

from stellwerk.budget import Budget, RunBudget
from stellwerk.errors import InputError
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.nodes.state import OrchestratorState
from stellwerk.routers.exploring import Exploring
from stellwerk.routers.smallest_first import Fixed, SmallestFirst
from stellwerk.run_options import RunOptions
from tests.fakes import Crash, Scripted, always, ladder, make, not_asked, plan, run, values, worker
from tests.fakes import made as made_by

WRONG = always("no JSON")
GIVEN = {"task": "t", "plan": plan(a="")}


def orchestrator(*models: Any, **options: Any) -> Any:
    return create_orchestrator([worker(repairs=0)], ladder(*models), **{"synthesizer": "join", **options})


def tiers(output: dict[str, Any], subtask: str = "a") -> list[str]:
    return [attempt["tier"] for attempt in output["results"][subtask]["attempts"]]


@pytest.mark.parametrize(
    ("context", "tried"),
    [
        (None, ["small", "medium", "large"]),
        ({}, ["small", "medium", "large"]),
        ({"largest_tier": "medium"}, ["small", "medium"]),
        ({"smallest_tier": "medium"}, ["medium", "large"]),
        ({"smallest_tier": "medium", "largest_tier": "medium"}, ["medium"]),
        ({"subtask_attempts": 1}, ["small"]),
        (RunOptions(smallest_tier="large"), ["large"]),
        ({"largest_tier": "", "run_usd": None}, ["small", "medium", "large"]),  # as an empty form says it
    ],
)
def test_a_run_keeps_to_its_tiers(context: Any, tried: list[str], sync: bool) -> None:
    graph = orchestrator(WRONG, WRONG, WRONG).compile()
    assert tiers(run(graph, GIVEN, sync=sync, context=context)) == tried


def test_planning_and_merging_keep_to_them_too(sync: bool) -> None:
    said = json.dumps(plan(a="", b=""))
    small = Scripted(reply=lambda messages: said if "Plan:" in messages[-1].text else make(messages))
    graph = orchestrator(small, not_asked, synthesizer="model", max_subtasks=2).compile()
    output = run(graph, {"task": "t"}, sync=sync, context={"largest_tier": "small"})
    assert values(output) == {"a": made_by("a"), "b": made_by("b")}
    assert set(output["ledger"]["by_tier"]) == {"small"}
    assert output["ledger"]["total"]["calls"] == 4


@pytest.mark.parametrize("router", [SmallestFirst({"make": "large"}), Fixed("large")])
def test_where_a_router_wants_a_tier_that_is_left_out_it_gets_the_nearest(router: Any, sync: bool) -> None:
    graph = orchestrator(not_asked, make, not_asked, router=router).compile()
    assert tiers(run(graph, GIVEN, sync=sync, context={"largest_tier": "medium"})) == ["medium"]


def test_the_smallest_may_go_first_whatever_the_router_says(sync: bool) -> None:
    graph = orchestrator(make, make, router=Fixed("large")).compile()
    assert tiers(run(graph, GIVEN, sync=sync)) == ["large"]
    assert tiers(run(graph, GIVEN, sync=sync, context={"router": "smallest-first"})) == ["small"]


def test_an_accepted_answer_is_served_where_only_the_graphs_own_router_goes_on_from_it(sync: bool) -> None:
    drawn = Exploring(Fixed("large"), 1.0, seed=1)
    graph = orchestrator(make, make, router=drawn).compile()
    assert len(tiers(run(graph, GIVEN, sync=sync))) == 2
    output = run(graph, GIVEN, sync=sync, context={"router": "smallest-first"})
    assert tiers(output) == ["small"]
    assert values(output) == {"a": made_by("a")}


def test_limits_become_tighter_and_never_wider(sync: bool) -> None:
    given = {"task": "t", "plan": plan(a="", b="", c=""), "budget": {"calls": 2}}
    graph = orchestrator(make, run_budget=RunBudget(calls=3, usd=1.0)).compile()
    for calls, least in ((1, 1), (9, 2)):
        output = run(graph, given, sync=sync, context={"run_calls": calls, "run_seconds": 60})
        assert output["ledger"]["budget"]["limits"] == {"seconds": 60, "usd": 1.0, "calls": least}
        assert output["ledger"]["total"]["calls"] == least
    graph = orchestrator(WRONG, WRONG, WRONG, budget=Budget(attempts=2)).compile()
    assert len(tiers(run(graph, GIVEN, sync=sync, context={"subtask_attempts": 3}))) == 2
    assert len(tiers(run(graph, GIVEN, sync=sync, context={"subtask_calls": 1}))) == 1


def test_what_gave_no_result_is_planned_anew_as_often_as_the_run_says(sync: bool) -> None:
    replanned = always(json.dumps([plan(b="")["subtasks"][0]]))
    graph = orchestrator(lambda messages: "no" if "[[a]]" in messages[-1].text else make(messages), replanned)
    given = {"task": "t", "plan": plan(a="")}
    options = {"replans": 1, "subtask_attempts": 1}
    output = run(graph.compile(), given, sync=sync, context=options)
    assert values(output) == {"b": made_by("b")}
    graph = orchestrator(WRONG, not_asked, replans=1)
    output = run(graph.compile(), given, sync=sync, context={**options, "replans": 0})
    assert list(output["failure"]["missing"]) == ["a"]


def test_a_run_may_leave_the_cache_alone(sync: bool) -> None:
    store = InMemoryStore()
    graph = orchestrator(make, cache=ResultsCache(store=store)).compile()
    run(graph, GIVEN, sync=sync, context={"cache": False})
    assert not store.search(())
    run(graph, GIVEN, sync=sync)
    assert run(graph, GIVEN, sync=sync)["ledger"]["cached"] == 1
    assert "cached" not in run(graph, GIVEN, sync=sync, context={"cache": False})["ledger"]


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"largest_teir": "small"}, "no option largest_teir; did you mean largest_tier"),
        ({"run_usd": -1}, r"option run_usd of the run: .* greater than 0 \(found '-1'\)"),
        ({"run_calls": "many", "replans": 99}, r"run_calls .*found 'many'.*; .*replans .*found '99'"),
        ({"router": "best"}, r"option router of the run: .*smallest-first"),
        ({"largest_tier": "smal"}, "options of the run: there is no tier 'smal'; did you mean 'small'"),
        ({"smallest_tier": "large", "largest_tier": "small"}, "'large' stands above the largest, 'small'"),
    ],
)
def test_what_cannot_be_chosen_is_named_before_a_model_is_asked(
    context: dict[str, Any], said: str, sync: bool
) -> None:
    graph = orchestrator(not_asked, not_asked).compile()
    with pytest.raises(InputError, match=said):
        run(graph, {"task": "t"}, sync=sync, context=context)


def test_a_run_that_is_resumed_keeps_what_was_chosen_and_the_next_one_is_free(sync: bool) -> None:
    alive = False

    def dies(messages: Any) -> str:
        if not alive:
            raise Crash
        return "no JSON"

    graph = orchestrator(dies, make, not_asked).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "one"}}
    with pytest.raises(Crash):
        run(graph, GIVEN, config, sync=sync, context={"largest_tier": "medium"}, durability="sync")
    alive = True
    assert tiers(run(graph, None, config, sync=sync)) == ["small", "medium"]
    assert graph.get_state(config).values["options"] == {"largest_tier": "medium"}
    assert tiers(run(graph, GIVEN, config, sync=sync, context={"smallest_tier": "medium"})) == ["medium"]
    run(graph, GIVEN, config, sync=sync)
    assert graph.get_state(config).values["options"] == {}


def test_inside_another_graph_its_context_is_its_own(sync: bool) -> None:
    outer = StateGraph(OrchestratorState, context_schema=dict[str, Any])  # type: ignore[type-var]
    outer.add_node("office", orchestrator(make, not_asked).compile())
    outer.add_edge(START, "office")
    program = outer.compile()
    assert tiers(run(program, GIVEN, sync=sync, context={"largest_tier": "none of ours"})) == ["small"]
    with pytest.raises(InputError, match="no tier 'huge'"):
        run(program, GIVEN, sync=sync, context=RunOptions(largest_tier="huge"))


def test_a_run_without_options_keeps_nothing_of_them(sync: bool) -> None:
    graph = orchestrator(make).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "one"}}
    run(graph, GIVEN, config, sync=sync)
    assert "options" not in graph.get_state(config).values
