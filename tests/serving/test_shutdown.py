"""A server is told to end under load, and started again: nothing that it took is lost."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fake_openai import FakeOpenAI, serve_openai
from tests.serving.served import RUN, Models, new_thread, refused
from tests.serving.test_threads import ANSWER

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
COUNT = 6


@contextmanager
def process(
    folder: Path, openai: FakeOpenAI, *, grace: float = 1
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    tiers = [openai.tier("small", input_price=0.1, output_price=0.2)]
    environment = {
        **os.environ,
        "STELLWERK_TIERS": json.dumps(tiers),
        "STELLWERK_DATABASE": str(folder / "runs.sqlite"),
        "STELLWERK_SERVE": json.dumps({"port": 0, "grace_seconds": grace, "max_runs_per_owner": 2 * COUNT}),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "stellwerk.cli", "serve"]
    server = subprocess.Popen(
        command, env=environment, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert server.stderr is not None
    url = ""
    said = []
    for line in server.stderr:
        said.append(line)
        if "running on " in line:
            url = line.split("running on ")[1].split()[0]
            break
    assert url, "".join(said)
    rest = threading.Thread(target=server.stderr.read, daemon=True)  # or its pipe would be full
    rest.start()
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield server, client
    finally:
        server.kill()
        server.wait()
        rest.join()
        server.stderr.close()


def taken(url: str) -> bool:
    """Whether a new connection is."""
    try:
        httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def test_sigterm_under_load_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    models = Models()
    ended: dict[str, Any] = {}
    with serve_openai(models.answer) as openai:
        with process(tmp_path, openai) as (server, client):
            threads = [new_thread(client) for _ in range(COUNT)]

            def run(thread: str) -> None:
                ended[thread] = client.post(f"/threads/{thread}/runs", json=RUN)

            with models.held_up():
                clients = [threading.Thread(target=run, args=(thread,)) for thread in threads]
                for each in clients:
                    each.start()
                for _ in range(COUNT):
                    assert models.busy.acquire(timeout=20)
                began = time.monotonic()
                server.send_signal(signal.SIGTERM)
                for each in clients:
                    each.join(20)
                assert server.wait(20) in (0, -signal.SIGTERM)
            assert 1 <= time.monotonic() - began < 10
        for thread in threads:
            assert refused(ended[thread], 503)["run"] == "interrupted"
            assert ended[thread].headers["Retry-After"]
        with process(tmp_path, openai) as (_, client):
            for thread in threads:
                assert client.get(f"/threads/{thread}").json()["status"] == "interrupted"
                assert client.post(f"/threads/{thread}/resume").json()["answer"] == ANSWER


def test_a_run_that_ends_within_the_grace_is_answered_and_a_new_one_is_not_taken(tmp_path: Path) -> None:
    models = Models()
    with serve_openai(models.answer) as openai, process(tmp_path, openai, grace=15) as (server, client):
        thread = new_thread(client)
        found: list[httpx.Response] = []
        with models.held_up():
            running = threading.Thread(
                target=lambda: found.append(client.post(f"/threads/{thread}/runs", json=RUN))
            )
            running.start()
            assert models.busy.acquire(timeout=20)
            server.send_signal(signal.SIGTERM)
            while taken(str(client.base_url.join("/healthz"))):
                assert running.is_alive()
        running.join(20)
        assert found[0].json()["answer"] == ANSWER
        assert server.wait(20) in (0, -signal.SIGTERM)
