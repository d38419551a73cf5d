"""LangGraph's own server, offline, on `langgraph.json`: what Studio talks to."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stellwerk.tiers.model_files import file_state
from tests.fake_openai import Body, FakeOpenAI, job_of, serve_openai, title_of

pytest.importorskip("langgraph_api")

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
REPORT = {"name": "report", "text": "Sales in 2020 were 100 dollars.\nRent in 2020 was 20 dollars.\n"}
PLAN = {
    "subtasks": [
        {"id": "sales", "worker": "extract", "instruction": "What were sales?", "depends_on": []},
        {"id": "text", "worker": "write", "instruction": "Say it", "depends_on": ["sales"]},
    ]
}


def answer(body: Body) -> object:
    if title_of(body) == "plan":
        return PLAN
    if job_of(body) == "What were sales?":
        return {"answer": ["100 dollars"]}
    return {"text": "Sales were 100 dollars."}


@contextmanager
def langgraph_dev(folder: Path, settings: Mapping[str, str]) -> Iterator[SyncLangGraphClient]:
    """The development server in a copy of the checkout, as it writes its state beside `langgraph.json`."""
    shutil.copy(ROOT / "langgraph.json", folder)
    (folder / "stellwerk").symlink_to(ROOT / "stellwerk")
    (folder / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "STELLWERK_DATABASE": str(folder / "runs.sqlite"),
        **settings,
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
        with get_sync_client(url=url) as client:
            yield client
        assert "BlockingError" not in log.read_text()
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/ok").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not come up: {log.read_text()}")


@pytest.fixture(scope="module")
def openai() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


@pytest.fixture(scope="module")
def studio(openai: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncLangGraphClient]:
    tiers = [openai.tier("small"), openai.tier("large")]
    settings = {"STELLWERK_TIERS": json.dumps(tiers)}
    with langgraph_dev(tmp_path_factory.mktemp("studio"), settings) as client:
        yield client


def assistant_id(studio: SyncLangGraphClient, graph: str) -> str:
    return studio.assistants.search(graph_id=graph)[0]["assistant_id"]


def test_every_graph_is_there_with_a_description(studio: SyncLangGraphClient) -> None:
    found = {assistant["graph_id"]: assistant["description"] for assistant in studio.assistants.search()}
    assert set(found) == {"orchestrator", "look_up", "extract", "calculate", "summarise", "write"}
    assert all(found.values())


def test_the_drawing_is_the_architecture(studio: SyncLangGraphClient) -> None:
    drawing = studio.assistants.get_graph(assistant_id(studio, "orchestrator"), xray=True)
    nodes = {str(node["id"]) for node in drawing["nodes"]}
    assert nodes >= {"supervisor", "execute:router", "execute:extract:generate", "synthesize"}
    assert nodes >= {f"execute:{name}:verify" for name in ("extract", "calculate", "summarise", "write")}


def test_the_forms_ask_for_what_a_person_gives(studio: SyncLangGraphClient) -> None:
    task = studio.assistants.get_schemas(assistant_id(studio, "orchestrator"))
    assert set((task["input_schema"] or {})["properties"]) == {"task", "documents", "messages", "plan"}
    worker = studio.assistants.get_schemas(assistant_id(studio, "extract"))
    assert set((worker["input_schema"] or {})["properties"]) == {"instruction", "documents", "inputs", "tier"}
    assert not worker.get("context_schema")


def test_a_task_streams_with_its_subtasks(studio: SyncLangGraphClient) -> None:
    thread = studio.threads.create()["thread_id"]
    given: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}
    stream = studio.runs.stream(
        thread, "orchestrator", input=given, stream_mode=["updates", "messages-tuple"], stream_subgraphs=True
    )
    updates = [part for part in stream if part.event.startswith("updates")]
    places = {tuple(name.split(":")[0] for name in part.event.split("|")[1:]) for part in updates}
    assert {(), ("execute", "run_subtask"), ("execute", "run_subtask", "extract")} <= places
    values = studio.threads.get_state(thread)["values"]
    assert isinstance(values, dict)
    assert values["answer"] == "Sales were 100 dollars."
    # Streamed calls have to be billed as well.
    assert values["ledger"]["total"]["calls"] == 3
    assert values["ledger"]["total"]["input"] == 300
    assert len(studio.threads.get_history(thread)) == 6


def test_a_worker_runs_alone(studio: SyncLangGraphClient) -> None:
    given: dict[str, Any] = {"instruction": "What were sales?", "documents": [REPORT]}
    result = studio.runs.wait(None, "extract", input=given)
    assert isinstance(result, dict)
    assert result["verdict"] == {"accepted": True}
    assert result["value"]["answer"] == ["100 dollars"]


@pytest.mark.model
def test_an_embedded_model_does_not_block_the_server(tmp_path: Path) -> None:
    if file_state("smollm2-135m") == "absent":
        pytest.skip("the model file is not on this machine")
    settings = {"STELLWERK_TIERS": "[]", "STELLWERK_MODELS": '["smollm2-135m"]'}
    with langgraph_dev(tmp_path, settings) as studio:
        given = {"instruction": "Greet Ada in one short sentence."}
        result = studio.runs.wait(None, "write", input=given)
    assert isinstance(result, dict)
    assert result["calls"][0]["usage"]["output"] > 0


def test_a_file_of_settings_with_a_key_and_a_worker_of_ones_own(openai: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "small.key").write_text("the-key")
    (tmp_path / "own_workers.py").write_text(
        "from pydantic import BaseModel\n"
        "from stellwerk import create_worker\n"
        "class Greeting(BaseModel):\n"
        "    text: str\n"
        "def greeter():\n"
        "    return create_worker('greet', output=Greeting, prompt='Greet.')\n"
    )
    (tmp_path / "stellwerk.toml").write_text(
        f'workers = ["own_workers:greeter"]\n[tiers.only]\nmodel = "m"\nurl = "{openai.url}"\n'
        'api_key_file = "small.key"\n'
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    plan = {"subtasks": [{"id": "a", "worker": "greet", "instruction": "Greet Ada", "depends_on": []}]}
    given: dict[str, Any] = {"task": "Greet Ada", "plan": plan}
    with langgraph_dev(tmp_path, {"PYTHONPATH": path, "STELLWERK_TIERS__ONLY__TIMEOUT": "30"}) as studio:
        state = studio.runs.wait(None, assistant_id(studio, "orchestrator"), input=given)
    assert isinstance(state, dict)
    assert state["results"]["a"]["value"] == {"text": "Sales were 100 dollars."}
    assert "Bearer the-key" in openai.keys
