"""What people answer to a remote worker's questions goes to the question that it was given to."""

import asyncio
import contextvars
import threading
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.workers.remote import remote_worker
from tests.fakes import Crash, Said, Scripted, in_turn, ladder, not_asked, plan, run, wants, worker

THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
TASK = {"task": "t", "plan": plan(a="")}
NO = {"type": "reject", "message": "never"}


class Server:
    """Runs a graph apart from the run that calls it, as a server does."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.dies = graph, False

    def get_state(self, config: Any) -> Any:
        return self._apart(self.graph.get_state, config)

    def invoke(self, given: Any, config: Any = None, **options: Any) -> Any:
        done = self._apart(self.graph.invoke, given, config)
        if self.dies and isinstance(given, Command):  # of the caller, once the answer is with the server
            self.dies = False
            raise Crash
        return done

    async def aget_state(self, config: Any) -> Any:
        return await asyncio.to_thread(self.get_state, config)

    async def ainvoke(self, given: Any, config: Any = None, **options: Any) -> Any:
        return self.invoke(given, config)

    def _apart(self, call: Any, *arguments: Any) -> Any:
        given: list[Any] = []
        thread = threading.Thread(target=lambda: given.append(contextvars.Context().run(call, *arguments)))
        thread.start()
        thread.join()
        return given[0]


def office(made: Any, *models: Any) -> tuple[Any, Server]:
    server = Server(create_worker_graph(made, ladder(*models)).compile(checkpointer=InMemorySaver()))
    here: Any = remote_worker("make", server, description="makes", output=Said)  # type: ignore[arg-type]  # a local graph stands for it
    tiers = ladder(*[not_asked for _ in models])
    graph = create_orchestrator([here], tiers, synthesizer="join")
    return graph.compile(checkpointer=InMemorySaver()), server


def shop(ordered: list[str]) -> tuple[Any, Server]:
    def order(what: str) -> str:
        """Order something."""
        ordered.append(what)
        return "ordered"

    says = in_turn(
        wants(("order", {"what": "tea"})), wants(("order", {"what": "a yacht"})), '{"text": "fine"}'
    )
    return office(worker(tools=[order], approve=["order"]), Scripted(reply=says))


def answer(found: Any, said: Any) -> Command[Any]:
    (asked,) = found["__interrupt__"]
    return Command(resume={asked.id: said})


def test_the_second_question_is_not_given_the_first_answer(sync: bool) -> None:
    ordered: list[str] = []
    graph, _ = shop(ordered)
    found = run(graph, TASK, THREAD, sync=sync)
    assert found["__interrupt__"][0].value["subtask"] == "a"
    found = run(graph, answer(found, "approve"), THREAD, sync=sync)
    found = run(graph, answer(found, NO), THREAD, sync=sync)
    assert ordered == ["tea"]
    assert found["ledger"]["people"] == {"approve_tool": {"approve": 1, "reject": 1}}


def test_nor_is_it_after_a_crash(sync: bool) -> None:
    ordered: list[str] = []
    graph, server = shop(ordered)
    found = run(graph, TASK, THREAD, sync=sync, durability="sync")
    server.dies = True
    try:
        run(graph, answer(found, "approve"), THREAD, sync=sync, durability="sync")
    except Crash:
        found = run(graph, None, THREAD, sync=sync)
    assert found["__interrupt__"][0].value["args"] == {"what": "a yacht"}
    run(graph, answer(found, NO), THREAD, sync=sync)
    assert ordered == ["tea"]


def test_a_rejection_ends_the_subtask_and_is_kept(sync: bool) -> None:
    graph, _ = office(worker(approve=True), not_asked, not_asked)
    found = run(graph, TASK, THREAD, sync=sync)
    found = run(graph, answer(found, NO), THREAD, sync=sync)
    result = found["results"]["a"]
    assert (result["by"], result["reason"], len(result["attempts"])) == ("person", "rejected", 1)
    assert result["people"][0]["message"] == "never"
    assert found["ledger"]["people"] == {"approve_worker": {"reject": 1}}
