"""The same task on a real model by every way of use: from Python, at the command line, from each server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from stellwerk import create_orchestrator, embedded_ladder
from stellwerk.tiers.model_files import file_state
from tests.end_to_end.sorting import (
    GIVEN,
    LABELS,
    MESSAGES,
    MODEL,
    PLAN,
    TASK,
    environment,
    labels,
    sorter,
)
from tests.fake_openai import serve_openai
from tests.serving.process import serve_process
from tests.serving.served import events, new_thread

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(file_state(MODEL) == "absent", reason="the model file is not on this machine"),
]


@pytest.fixture(scope="module")
def right() -> dict[str, str]:
    """From Python: what the model says, which is the same each time."""
    graph = create_orchestrator([sorter()], embedded_ladder([MODEL])).compile()
    return labels(graph.invoke(GIVEN))


def test_from_python(right: dict[str, str]) -> None:
    assert right.keys() == MESSAGES.keys()
    assert set(right.values()) <= {*LABELS, "unknown"}


def test_at_the_command_line(right: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    command = [sys.executable, "-m", "stellwerk.cli", "run", TASK, "--plan", "plan.json", "--json"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert labels(json.loads(done.stdout)) == right


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """`stellwerk serve`, as a process. The larger tier, which plans, is a stand-in."""
    folder = tmp_path_factory.mktemp("served")
    with serve_openai(lambda body: PLAN) as planner:
        tiers = [
            {"name": MODEL, "kind": "embedded", "model": MODEL},
            planner.tier("large", input_price=1, output_price=2),
        ]
        chosen = {"STELLWERK_TIERS": json.dumps(tiers), "STELLWERK_SERVE": '{"port": 0}'}
        with serve_process(folder, {**environment(folder), **chosen}) as (_, client):
            yield client


@pytest.mark.server
def test_over_http(right: dict[str, str], served: httpx.Client) -> None:
    found = served.post(f"/threads/{new_thread(served)}/runs", json=GIVEN)
    assert found.status_code == 200, found.text
    assert labels(found.json()) == right
    with served.stream("POST", f"/threads/{new_thread(served)}/runs/stream", json=GIVEN) as response:
        name, last = events(response)[-1]
    assert name == "values"
    assert labels(last) == right


@pytest.mark.server
def test_by_the_client_of_openai(right: dict[str, str], served: httpx.Client) -> None:
    """Which gives no plan, so that a model makes one."""
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key="none", max_retries=0) as client:
        found = client.chat.completions.create(
            model="stellwerk", messages=[{"role": "user", "content": TASK}]
        )
    answer = found.choices[0].message.content or ""
    assert all(label in answer for label in right.values())
    assert found.usage is not None
    thread: Any = served.get(f"/threads/{found.id.removeprefix('chatcmpl-')}").json()
    assert found.usage.completion_tokens == thread["ledger"]["total"]["output"]
    assert labels(thread) == right


@pytest.mark.server
def test_by_the_sdk_of_langgraph(right: dict[str, str], tmp_path: Path) -> None:
    """From `langgraph dev`, which no embedded model may block: the orchestrator, and a worker alone."""
    pytest.importorskip("langgraph_api")
    from tests.server.test_studio import langgraph_dev

    graphs = {
        "orchestrator": "./stellwerk/graphs/studio.py:orchestrator",
        "write": "./stellwerk/graphs/studio.py:write",
    }
    with langgraph_dev(tmp_path, environment(tmp_path), graphs) as studio:
        output: Any = studio.runs.wait(None, "orchestrator", input=GIVEN)
        given = {"instruction": "Greet Ada in one short sentence."}
        alone: Any = studio.runs.wait(None, "write", input=given)
    assert labels(output) == right
    assert alone["calls"][0]["usage"]["output"] > 0
