"""LangGraph's own server with our checkpointer in the place of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph_api")

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.server.test_studio import ROOT, _wait_until_up

pytestmark = pytest.mark.server

CONFIG = {
    "dependencies": ["."],
    "graphs": {"count": "./program.py:graph"},
    "checkpointer": {"path": "./program.py:make"},
}
PROGRAM = """
import asyncio
import operator
from contextlib import asynccontextmanager
from typing import Annotated

from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from stellwerk.persistence.saver import AsyncSQLAlchemySaver


class State(TypedDict):
    lines: Annotated[list[str], operator.add]
    wait: float


async def step(state: State) -> dict:
    await asyncio.sleep(state.get("wait") or 0)
    return {"lines": ["done"]}


builder = StateGraph(State)
for name in ("one", "two"):
    builder.add_node(name, step)
builder.set_entry_point("one")
builder.add_edge("one", "two")
graph = builder.compile()


@asynccontextmanager
async def make():
    async with AsyncSQLAlchemySaver.from_url("runs.sqlite") as saver:
        yield saver
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[SyncLangGraphClient]:
    (folder / "langgraph.json").write_text(json.dumps(CONFIG))
    (folder / "program.py").write_text(PROGRAM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, server, log)
        with get_sync_client(url=url) as made:
            yield made
    finally:
        server.terminate()
        server.wait(30)


def given(state: Any) -> Any:
    return state


def lines(client: SyncLangGraphClient, thread: str) -> list[str]:
    values = client.threads.get_state(thread)["values"]
    assert isinstance(values, dict)
    return list(values.get("lines", []))


def test_nothing_is_missing(client: SyncLangGraphClient, folder: Path) -> None:
    log = (folder / "log").read_text()
    assert "Using custom checkpointer: AsyncSQLAlchemySaver" in log
    assert not [line for line in log.splitlines() if "warn" in line.lower() and "checkpoint" in line.lower()]
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "count", input=given({"lines": ["first"]}))
    assert lines(client, thread) == ["first", "done", "done"]
    assert (folder / "runs.sqlite").stat().st_size > 0


def test_a_thread_is_copied_and_pruned(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    for name in ("first", "second"):
        client.runs.wait(thread, "count", input=given({"lines": [name]}))
    right = lines(client, thread)
    client.threads.copy(thread)
    found = [t["thread_id"] for t in client.threads.search(limit=100) if t["thread_id"] != thread]
    assert [right, 8] in [[lines(client, other), len(client.threads.get_history(other))] for other in found]
    with pytest.raises(UnprocessableEntityError):  # by the development server, of every checkpointer
        client.threads.prune([thread], strategy="keep_latest")
    client.threads.prune([thread], strategy="delete")
    with pytest.raises(NotFoundError):
        client.threads.get_state(thread)


def test_a_run_is_rolled_back_by_the_next(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "count", input=given({"lines": ["kept"]}))
    first = client.runs.create(thread, "count", input=given({"lines": ["undone"], "wait": 30}))
    for part in client.runs.join_stream(thread, first["run_id"], stream_mode="values"):
        if part.event == "values":
            break
    client.runs.wait(
        thread, "count", input=given({"lines": ["new"], "wait": 0}), multitask_strategy="rollback"
    )
    assert lines(client, thread) == ["kept", "done", "done", "new", "done", "done"]
