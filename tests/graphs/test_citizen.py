"""The orchestrator inside other people's programs: a node of their graph, a tool of their agent."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from stellwerk.graphs.as_tool import orchestrator_tool
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.ledger import LedgerRecord
from stellwerk.worker import Brief
from tests.fakes import Said, Scripted, always, in_turn, ladder, make, not_asked, run, subtask, wants, worker


class Program(MessagesState):
    """State of somebody else's graph, which shares what it wants with the orchestrator."""

    plan: dict[str, Any]
    results: dict[str, Any]
    ledger: LedgerRecord
    after: str


class Agent(Scripted):
    """A model that takes tools, and calls those that its script says."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Itself."""
        return self


def program(node: Any, **options: Any) -> Any:
    """Their graph: what they do, the orchestrator, and what they do with its results."""

    def after(state: Program) -> dict[str, Any]:
        return {"after": f"{len(state['results'])} results, {state['messages'][-1].type} last"}

    graph = StateGraph(Program)
    graph.add_node("orchestrator", node)
    graph.add_node("after", after)
    graph.add_edge(START, "orchestrator")
    graph.add_edge("orchestrator", "after")
    graph.add_edge("after", END)
    return graph.compile(**options)


def test_as_a_node_it_shares_the_state_and_needs_no_more_threads_than_it_has(sync: bool) -> None:
    """Forty subtasks wait in a sync run, where the caller allows four steps at once."""
    names = [f"s{number}" for number in range(40)]
    plan = [subtask(name, *names[max(0, place - 3) : place]) for place, name in enumerate(names)]
    orchestrator = create_orchestrator([worker()], ladder(make, not_asked), synthesizer="join").compile()
    found = run(
        program(orchestrator),
        {"messages": [("human", "do it")], "plan": {"subtasks": plan[::-1]}},
        {"max_concurrency": 4},
        sync=sync,
    )
    assert found["after"] == "40 results, ai last"
    assert found["ledger"]["accepted"] == {"small": 40}


def test_as_a_node_it_is_resumed_with_the_graph_around_it(sync: bool) -> None:
    def ask(answer: Said, brief: Brief) -> Said:
        return Said(text=interrupt("What shall it say?")) if "a" in brief.instruction.split() else answer

    asking = worker(finish=ask)
    orchestrator = create_orchestrator(
        [asking], ladder(always('{"text": "made"}'), not_asked), synthesizer="join"
    )
    graph = program(orchestrator.compile(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    subtasks = [{"id": name, "worker": "make", "instruction": f"make {name}"} for name in "ab"]
    given = {"messages": [("human", "do it")], "plan": {"subtasks": subtasks}}
    found = run(graph, given, config, sync=sync)
    # LangGraph shows an interrupt of a task inside a nested node twice, under one id.
    assert len({asked.id for asked in found["__interrupt__"]}) == 1
    found = run(graph, Command(resume="hello"), config, sync=sync)
    assert found["results"]["a"]["value"] == {"text": "hello"}
    assert found["after"] == "2 results, ai last"


def test_as_a_tool_it_answers_an_agent_and_hands_on_what_it_cost(sync: bool) -> None:
    orchestrator = create_orchestrator(
        [worker()], ladder(always('{"text": "made it"}'), always("no plan")), synthesizer="join"
    )
    tool = orchestrator_tool(orchestrator.compile(), name="office", documents=[{"name": "d", "text": "x"}])
    model = Agent(reply=in_turn(wants(("office", {"task": "make it"})), AIMessage("there you are")))
    agent = create_agent(model, [tool])
    found = run(agent, {"messages": [("human", "please")]}, sync=sync)
    (said,) = [message for message in found["messages"] if message.type == "tool"]
    assert "made it" in said.text
    assert said.artifact["failure"] is None
    assert said.artifact["ledger"]["accepted"] == {"small": 1}


def test_what_an_agent_may_pass_on_is_described() -> None:
    tool = orchestrator_tool(create_orchestrator([worker()], ladder(make, make)).compile())
    assert list(tool.args) == ["task"]
    assert "in full" in tool.args["task"]["description"]
    with pytest.raises(ValueError, match="task"):
        tool.invoke({})
