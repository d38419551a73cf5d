"""LangGraph's own server, offline, on `langgraph.json`: what Studio talks to."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from stellwerk.graphs.declared import READY_MADE
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.store import SQLAlchemyStore
from stellwerk.persistence.traces import TraceStore
from stellwerk.run_options import RunOptions
from tests.fake_openai import Body, FakeOpenAI, job_of, serve_openai, title_of

pytest.importorskip("langgraph_api")

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

pytestmark = pytest.mark.server

T = TypeVar("T")
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
def langgraph_dev(
    folder: Path, settings: Mapping[str, str], graphs: Mapping[str, str] | None = None
) -> Iterator[SyncLangGraphClient]:
    """The development server in a copy of the checkout, as it writes its state beside `langgraph.json`."""
    declared = json.loads((ROOT / "langgraph.json").read_text())
    if graphs is not None:
        declared["graphs"] = graphs
    (folder / "langgraph.json").write_text(json.dumps(declared))
    for name in ("stellwerk", "tests", "pyproject.toml"):
        if not (folder / name).exists():  # it is there when the server is started again
            (folder / name).symlink_to(ROOT / name)
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


def poll(look: Callable[[], list[T]], count: int) -> list[T]:
    """What is found, once there is so much of it."""
    deadline = time.monotonic() + 10
    while len(found := look()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(found) >= count, found
    return found


@pytest.fixture(scope="module")
def openai() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(openai: FakeOpenAI, folder: Path) -> Iterator[SyncLangGraphClient]:
    tiers = [openai.tier("small"), openai.tier("large")]
    settings = {"STELLWERK_TIERS": json.dumps(tiers)}
    with langgraph_dev(folder, settings) as client:
        yield client


def assistant_id(studio: SyncLangGraphClient, graph: str) -> str:
    return studio.assistants.search(graph_id=graph)[0]["assistant_id"]


def test_every_graph_is_there_with_a_description(studio: SyncLangGraphClient) -> None:
    found = {assistant["graph_id"]: assistant["description"] for assistant in studio.assistants.search()}
    assert set(found) == {"orchestrator", *READY_MADE}
    assert all(found.values())


def test_the_drawing_is_the_architecture(studio: SyncLangGraphClient) -> None:
    drawing = studio.assistants.get_graph(assistant_id(studio, "orchestrator"), xray=True)
    edges = {(str(edge["source"]), str(edge["target"])) for edge in drawing["edges"]}
    assert edges >= {
        ("__start__", "supervisor"),
        ("supervisor", "execute:__start__"),
        ("execute:__start__", "execute:router"),
        ("execute:__end__", "supervisor"),
        ("supervisor", "synthesize"),
        ("synthesize", "__end__"),
    }
    for worker in READY_MADE:
        generate, verify, repair, end = (
            f"execute:{worker}:{step}" for step in ("generate", "verify", "repair", "__end__")
        )
        assert edges >= {
            ("execute:router", generate),
            (generate, verify),
            (verify, repair),
            (repair, verify),
            (end, "execute:router"),
            (end, "execute:__end__"),
        }


def test_the_forms_ask_for_what_a_person_gives(studio: SyncLangGraphClient) -> None:
    """Each field has a title and says what it is for; nothing is internal; tiers are to choose from."""
    asked = {
        "orchestrator": {"task", "documents", "messages", "plan", "budget"},
        **{name: {"instruction", "documents", "inputs", "tier"} for name in READY_MADE},
    }
    for graph, names in asked.items():
        schemas: Any = studio.assistants.get_schemas(assistant_id(studio, graph))
        form = schemas["input_schema"]["properties"]
        assert set(form) == names
        assert all(field["title"] and field["description"] for field in form.values())
        (document,) = [form["documents"]["items"]]
        assert (set(document["properties"]), document["required"]) == ({"name", "text"}, ["text"])
        if graph == "orchestrator":
            assert form["task"]["examples"]
            chosen = schemas["context_schema"]["properties"]
            assert set(chosen) == set(RunOptions.model_fields)
            assert all(field["title"] and field["description"] for field in chosen.values())
            assert chosen["largest_tier"]["enum"] == ["small", "large"]
            assert {chosen[name]["type"] for name in ("run_usd", "subtask_seconds")} == {"number"}
        else:
            assert form["tier"]["enum"] == ["small", "large"]
            assert not schemas.get("context_schema")


def test_a_run_is_as_its_context_says(studio: SyncLangGraphClient) -> None:
    given: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}
    cheap: dict[str, Any] = {"largest_tier": "small", "run_calls": 9, "run_usd": ""}
    output: Any = studio.runs.wait(None, "orchestrator", input=given, context=cheap)
    assert set(output["ledger"]["by_tier"]) == {"small"}
    assert output["ledger"]["budget"]["limits"] == {"calls": 9}
    wrong = studio.runs.wait(
        None, "orchestrator", input=given, context={"largest_tier": "huge"}, raise_error=False
    )
    assert isinstance(wrong, dict)
    assert "there is no tier 'huge'" in wrong["__error__"]["message"]


def test_the_command_line_sees_what_studio_ran(studio: SyncLangGraphClient, folder: Path) -> None:
    thread = studio.threads.create()["thread_id"]
    given: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}
    studio.runs.wait(thread, "orchestrator", input=given)
    wrong_plan = {**given, "plan": {"subtasks": [{"id": "no"}]}}
    studio.runs.wait(thread, "orchestrator", input=wrong_plan, raise_error=False)
    alone: dict[str, Any] = {"instruction": "What were sales?", "documents": [REPORT]}
    other = studio.threads.create()["thread_id"]
    studio.runs.wait(other, "extract", input=alone)
    with RunStore.from_url(folder / "runs.sqlite") as runs:
        wrong, right = runs.list(thread_id=thread)
        (single,) = runs.list(thread_id=other)
    assert (right.task, right.status) == ("What were sales?", "done")
    assert right.totals is not None
    assert right.totals["calls"] == 3
    assert (wrong.status, "PlanError" in (wrong.error or "")) == ("failed", True)
    assert (single.task, single.status) == ("What were sales?", "done")
    with TraceStore.from_url(folder / "runs.sqlite") as traces:
        found = poll(lambda: list(traces.attempts(thread_id=thread)), 2)
        assert {attempt["worker"] for attempt in found} == {"extract", "write"}
        assert len(poll(lambda: list(traces.attempts(thread_id=other)), 1)) == 1
        assert next(traces.runs(thread_id=thread, newest_first=False))["outcome"] == "ok"


def test_a_run_is_cancelled_from_the_command_line(
    studio: SyncLangGraphClient, folder: Path, openai: FakeOpenAI
) -> None:
    thread = studio.threads.create()["thread_id"]
    openai.delay = 20.0
    try:
        run = studio.runs.create(thread, "extract", input={"instruction": "What were sales?"})
        with RunStore.from_url(folder / "runs.sqlite") as runs:
            (running,) = poll(lambda: runs.list(thread_id=thread, status="running"), 1)
            runs.request_cancel(running.run_id)
            (ended,) = poll(lambda: runs.list(thread_id=thread, status="cancelled"), 1)
        assert "RunCancelledError" in (ended.error or "")
    finally:
        openai.delay = 0.0
    assert studio.runs.get(thread, run["run_id"])["status"] != "success"


def test_without_keys_studio_connects_and_the_report_is_for_this_machine(studio: SyncLangGraphClient) -> None:
    thread = studio.threads.create()["thread_id"]
    given: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}
    studio.runs.wait(thread, "orchestrator", input=given)
    url = str(studio.http.client.base_url).rstrip("/")
    page = {"Origin": "https://smith.langchain.com", "X-Auth-Scheme": "langsmith"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-auth-scheme"}
    with httpx.Client(base_url=url, trust_env=False) as browser:
        allowed = browser.options("/threads/search", headers={"Origin": page["Origin"], **asked})
        assert allowed.headers["Access-Control-Allow-Origin"] in ("*", page["Origin"])
        found = browser.post("/threads/search", json={"limit": 100}, headers=page)
        assert thread in {each["thread_id"] for each in found.json()}
        (run,) = poll(
            lambda: [
                each
                for each in browser.get("/report/report.json").json()["runs"]
                if (each["thread_id"], each["outcome"]) == (thread, "ok")
            ],
            1,
        )
        shown = browser.get("/report/run", params={"run": run["run_id"]})
        assert "Sales were 100 dollars." in shown.text
        # The page is no part of Studio, and so has nothing to do with pages of other sites.
        assert browser.get("/report/report.json", headers=page).status_code == 403


def test_a_thread_is_forked_and_run_again_from_a_step(
    studio: SyncLangGraphClient, openai: FakeOpenAI
) -> None:
    """With another task, and from the plan on, as a person does in Studio."""
    thread = studio.threads.create()["thread_id"]
    given: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}
    studio.runs.wait(thread, "orchestrator", input=given)
    history = studio.threads.get_history(thread)
    planned = next(state for state in history if state["next"] == ["execute"])
    asked = len(openai.asked("plan"))
    studio.runs.wait(thread, "orchestrator", input=None, checkpoint_id=planned["checkpoint"]["checkpoint_id"])
    assert len(openai.asked("plan")) == asked
    first = next(state for state in reversed(history) if state["next"] == ["supervisor"])
    edited = studio.threads.update_state(
        thread, {"task": "And rent?"}, checkpoint=first["checkpoint"], as_node="__start__"
    )
    studio.runs.wait(thread, "orchestrator", input=None, checkpoint=edited["checkpoint"])
    assert len(openai.asked("plan")) == asked + 1
    values: Any = studio.threads.get_state(thread)["values"]
    assert values["final_task"] == "And rent?"
    assert values["failure"] is None


def test_items_of_the_memory_are_kept_in_the_database(studio: SyncLangGraphClient, folder: Path) -> None:
    studio.store.put_item(["people", "ada"], "likes", {"colour": "green"})
    found = studio.store.search_items(["people"])["items"]
    assert [item["value"] for item in found] == [{"colour": "green"}]
    with SQLAlchemyStore.from_url(folder / "runs.sqlite") as store:
        assert [item.key for item in store.search(("people",))] == ["likes"]


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
        'api_key_file = "small.key"\n[cache]\nttl = 60\n[router]\nname = "learned"\nquality_floor = 0.9\n'
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    plan = {"subtasks": [{"id": "a", "worker": "greet", "instruction": "Greet Ada", "depends_on": []}]}
    given: dict[str, Any] = {"task": "Greet Ada", "plan": plan}
    with langgraph_dev(tmp_path, {"PYTHONPATH": path, "STELLWERK_TIERS__ONLY__TIMEOUT": "30"}) as studio:
        state, again = (
            studio.runs.wait(None, assistant_id(studio, "orchestrator"), input=given) for _ in range(2)
        )
    assert isinstance(state, dict)
    assert isinstance(again, dict)
    assert (again["answer"], again["ledger"]["cached"]) == (state["answer"], 1)
    assert state["results"]["a"]["value"] == {"text": "Sales were 100 dollars."}
    assert "Bearer the-key" in openai.keys
