"""A server is stopped and started again: an answer still finds its subtask, and no write is repeated."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.client import SyncLangGraphClient

from tests.fake_openai import Body, FakeOpenAI, ToolCalls, serve_openai
from tests.server.test_studio import ROOT, langgraph_dev

pytestmark = pytest.mark.server

GRAPHS = {
    "office": "./tests/server/remote_graphs.py:office",
    "approved": "./tests/server/remote_graphs.py:approved",
    "orchestrator": "./stellwerk/graphs/studio.py:orchestrator",
}


def answer(body: Body) -> object:
    if "tools" in body and body["messages"][-1]["role"] != "tool":
        return ToolCalls([("pay", '{"invoice": "17"}')])
    return {"text": "It is paid."}


def settings(openai: FakeOpenAI) -> dict[str, str]:
    return {
        "STELLWERK_TIERS": json.dumps([openai.tier("only")]),
        "STELLWERK_WORKERS": '["tests.server.remote_graphs:payer"]',
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def pay(client: SyncLangGraphClient) -> Any:
    subtasks = [{"id": "pay", "worker": "payer", "instruction": "Pay invoice 17."}]
    given: dict[str, Any] = {"task": "Pay.", "plan": {"subtasks": subtasks}}
    return client.runs.wait(None, "orchestrator", input=given)


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


def questions(client: SyncLangGraphClient, thread: str) -> dict[str, Any]:
    """Those that are open on a thread, by subtask."""
    found: Any = client.threads.get(thread)["interrupts"]
    return {each["value"]["subtask"]: each for asked in found.values() for each in asked}


def test_an_interrupt_is_answered_and_no_write_repeated_after_the_server_was_started_again(
    tmp_path: Path, openai: FakeOpenAI
) -> None:
    """Of a worker's own code, and two that stand before workers begin, answered one by one."""
    subtasks: list[dict[str, Any]] = [
        {"id": "first", "worker": "make", "instruction": "easy"},
        {"id": "asks", "worker": "make", "instruction": "ask a person", "depends_on": ["first"]},
        {"id": "last", "worker": "make", "instruction": "easy too", "depends_on": ["asks"]},
    ]
    given: dict[str, Any] = {"task": "t", "plan": {"subtasks": subtasks}}
    with langgraph_dev(tmp_path, settings(openai), GRAPHS) as client:
        paid = pay(client)
        thread = client.threads.create()["thread_id"]
        client.runs.wait(thread, "office", input=given)
        (asked,) = client.threads.get(thread)["interrupts"].values()
        assert asked[0]["value"] == "What do you say?"
        approving = client.threads.create()["thread_id"]
        both = [{**subtasks[0], "id": name} for name in ("one", "two")]
        given = {"task": "t", "plan": {"subtasks": both}}
        client.runs.wait(approving, "approved", input=given)
        assert questions(client, approving).keys() == {"one", "two"}
    with langgraph_dev(tmp_path, settings(openai), GRAPHS) as client:
        paid_again = pay(client)
        (asked,) = client.threads.get(thread)["interrupts"].values()
        answers = {asked[0]["id"]: "yes"}
        found: Any = client.runs.wait(thread, "office", command={"resume": answers})
        two = questions(client, approving)["two"]
        assert two["value"]["allowed"] == ["approve", "edit", "reject", "respond"]
        rejected = {"decisions": [{"type": "reject", "message": "not that one"}]}
        client.runs.wait(approving, "approved", command={"resume": {two["id"]: rejected}})
        one = questions(client, approving)["one"]
        assert questions(client, approving).keys() == {"one"}
        state: Any = client.runs.wait(
            approving, "approved", command={"resume": {one["id"]: {"type": "approve"}}}
        )
    results = found["results"]
    assert [result["status"] for result in results.values()] == ["accepted"] * 3
    assert results["asks"]["value"] == {"text": "a person says yes"}
    assert [result["status"] for result in state["results"].values()] == ["accepted", "failed"]
    assert state["failure"]["subtasks"]["two"]["detail"] == "a person rejected it: not that one"
    assert state["ledger"]["people"] == {"approve_worker": {"approve": 1, "reject": 1}}
    processes = {name: results[name]["value"]["text"].rpartition(" ")[2] for name in ("first", "last")}
    assert processes["first"] != processes["last"]  # what was done before was not done again
    assert (tmp_path / "paid").read_text() == "17\n"
    assert [run["ledger"]["tools"].get("replayed", 0) for run in (paid, paid_again)] == [0, 1]
    assert paid_again["results"]["pay"]["value"] == {"text": "It is paid."}
