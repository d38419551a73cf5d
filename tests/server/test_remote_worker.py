"""A worker on another LangGraph server behaves as one in this process, in failure too."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command

from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief
from stellwerk.workers.remote import remote_worker
from tests.fakes import Crash, Said, ladder, not_asked, run
from tests.server.test_studio import langgraph_dev

pytestmark = [
    pytest.mark.server,
    # RemoteGraph keeps its connections and has no way to close them.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    """Connections that nobody closes are gone before the next test, which would be told of them."""
    yield
    gc.collect()


GRAPHS = {name: f"./tests/server/remote_graphs.py:{name}" for name in ("make", "broken")}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with langgraph_dev(tmp_path_factory.mktemp("remote"), {}, GRAPHS) as client:
        yield str(client.http.client.base_url)


def tiers() -> Ladder:
    return ladder(not_asked, not_asked)  # the models are on the server


def outcome(graph: RemoteGraph, *instructions: str, sync: bool, **options: Any) -> dict[str, Any]:
    worker = remote_worker("make", graph, description="makes", output=Said, **options)
    subtasks = [
        {"id": f"s{number}", "worker": "make", "instruction": said}
        for number, said in enumerate(instructions)
    ]
    orchestrator = create_orchestrator([worker], tiers(), synthesizer="join").compile()
    found: dict[str, Any] = run(orchestrator, {"task": "t", "plan": {"subtasks": subtasks}}, sync=sync)
    return found


def test_it_is_checked_escalated_and_billed_as_any_other(url: str, sync: bool) -> None:
    found = outcome(RemoteGraph("make", url=url), "easy", "hard", sync=sync)
    easy, hard = found["results"]["s0"], found["results"]["s1"]
    assert easy["value"]["text"].startswith("made on the server")
    assert [attempt["tier"] for attempt in easy["attempts"]] == ["small"]
    assert [attempt["tier"] for attempt in hard["attempts"]] == ["small", "large"]
    assert hard["reason"] == "check"
    assert "too difficult for it" in hard["detail"]
    assert found["ledger"]["by_worker"]["make"]["calls"] == 3
    assert found["ledger"]["by_tier"]["large"]["usd"] > 0


def test_what_comes_back_is_checked_here_too(url: str, sync: bool) -> None:
    def check(answer: Said, brief: Brief) -> str | None:
        return "it is from a server" if "server" in answer.text else None

    found = outcome(RemoteGraph("make", url=url), "easy", sync=sync, checks=[check])
    assert "it is from a server" in found["results"]["s0"]["attempts"][0]["verdict"]["detail"]


@pytest.mark.parametrize(
    ("graph", "reason"), [("nobody", "tier"), ("broken", "worker")], ids=["no graph", "breaks off"]
)
def test_a_server_that_fails_rejects_the_attempt(url: str, graph: str, reason: str, sync: bool) -> None:
    fails(RemoteGraph(graph, url=url), reason, sync=sync)


def test_where_no_server_is_the_attempt_is_rejected() -> None:  # the client tries again for 7 s, each time
    fails(RemoteGraph("make", url="http://127.0.0.1:9"), "unavailable", sync=False)


def fails(graph: RemoteGraph, reason: str, *, sync: bool) -> None:
    found = outcome(graph, "easy", sync=sync)
    assert [attempt["verdict"].get("reason") for attempt in found["results"]["s0"]["attempts"]] == [
        reason
    ] * 2
    assert "worker 'make'" in found["results"]["s0"]["detail"]


def test_a_server_that_takes_too_long_is_given_up(url: str, sync: bool) -> None:
    found = outcome(RemoteGraph("make", url=url), "hang", sync=sync, timeout=0.5)
    assert found["results"]["s0"]["attempts"][0]["verdict"]["reason"] == "timeout"


@pytest.mark.parametrize("sync", [True, False])
async def test_a_person_whom_the_server_asks_is_asked_here(url: str, sync: bool) -> None:
    graph, config = checkpointed(url), {"configurable": {"thread_id": f"{url} {sync}"}}

    async def go(given: Any) -> Any:
        return graph.invoke(given, config) if sync else await graph.ainvoke(given, config)

    (asked,) = (await go(given("ask a person")))["__interrupt__"]
    assert asked.value == "What do you say?"
    found = await go(Command(resume="yes"))
    assert found["results"]["a"]["value"] == {"text": "a person says yes"}


@pytest.mark.parametrize("sync", [True, False])
async def test_what_the_server_has_done_is_not_done_again(url: str, sync: bool) -> None:
    alive = False

    def check(answer: Said, brief: Brief) -> str | None:
        if not alive:
            raise Crash
        return None

    graph, config = checkpointed(url, checks=[check]), {"configurable": {"thread_id": f"{url} crash {sync}"}}
    task = given(f"easy, {sync}")

    async def go(given: Any) -> Any:
        if sync:
            return graph.invoke(given, config, durability="sync")
        return await graph.ainvoke(given, config, durability="sync")

    with pytest.raises(Crash):
        await go(task)
    alive = True
    found = await go(None)
    assert found["results"]["a"]["value"]["text"].startswith("made on the server, asked 1 times")


def checkpointed(url: str, **options: Any) -> Any:
    worker = remote_worker("make", RemoteGraph("make", url=url), description="makes", output=Said, **options)
    orchestrator = create_orchestrator([worker], tiers(), synthesizer="join")
    return orchestrator.compile(checkpointer=InMemorySaver())


def given(instruction: str) -> dict[str, Any]:
    subtask = {"id": "a", "worker": "make", "instruction": instruction}
    return {"task": "t", "plan": {"subtasks": [subtask]}}


def test_it_works_alone(url: str, sync: bool) -> None:
    worker = remote_worker("make", RemoteGraph("make", url=url), description="makes", output=Said)
    graph = create_worker_graph(worker, tiers()).compile()
    found = run(graph, {"instruction": "easy"}, sync=sync)
    assert found["verdict"] == {"accepted": True}
    assert json.dumps(found)
