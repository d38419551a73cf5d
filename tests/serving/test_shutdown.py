"""A server is told to end under load, and started again: nothing that it took is lost."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from tests.fake_openai import FakeOpenAI, serve_openai
from tests.serving.process import serve_process
from tests.serving.served import RUN, Models, events, new_thread, refused
from tests.serving.test_chat import MESSAGES
from tests.serving.test_threads import ANSWER

pytestmark = pytest.mark.server


@contextmanager
def process(
    folder: Path, stand_in: FakeOpenAI, *, grace: float = 1
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    environment = {
        "STELLWERK_TIERS": json.dumps([stand_in.tier("small", input_price=0.1, output_price=0.2)]),
        "STELLWERK_DATABASE": str(folder / "runs.sqlite"),
        "STELLWERK_SERVE": json.dumps({"port": 0, "grace_seconds": grace, "max_runs_per_owner": 16}),
    }
    with serve_process(folder, environment) as found:
        yield found


def taken(url: str) -> bool:
    """Whether a new connection is."""
    try:
        httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def run(client: httpx.Client) -> str:
    """A run that is waited for, which is told that the server ends; its thread."""
    thread = new_thread(client)
    told = client.post(f"/threads/{thread}/runs", json=RUN)
    assert refused(told, 503)["run"] == "interrupted"
    assert told.headers["Retry-After"]
    return thread


def stream(client: httpx.Client) -> str:
    """The same for a stream, which has begun by then."""
    thread = new_thread(client)
    with client.stream("POST", f"/threads/{thread}/runs/stream", json=RUN) as response:
        assert response.status_code == 200
        name, last = events(response)[-1]
    assert (name, last["status"], last["run"]) == ("error", 503, "interrupted")
    return thread


def chat(client: httpx.Client) -> str:
    """The same for OpenAI's client, which is told the thread in the error."""
    with (
        openai_client(client) as asking,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        asking.chat.completions.create(model="stellwerk", messages=MESSAGES)
    told = caught.value.response.json()
    assert (told["status"], told["run"]) == (503, "interrupted")
    return str(told["thread"])


def chat_stream(client: httpx.Client) -> str:
    """The same for its stream, whose first piece has the thread in its id."""
    with openai_client(client) as asking:
        pieces = asking.chat.completions.create(model="stellwerk", messages=MESSAGES, stream=True)
        first = next(pieces)
        with pytest.raises(openai.APIError, match="Try again"):
            list(pieces)
    return first.id.removeprefix("chatcmpl-")


def openai_client(client: httpx.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0)


def test_sigterm_under_load_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    models = Models()
    # What each asks of models at once: the plan of a run has two subtasks that wait for nothing.
    asking = {run: 2, stream: 2, chat: 1, chat_stream: 1}
    with serve_openai(models.answer) as stand_in, ThreadPoolExecutor(2 * len(asking)) as clients:
        with process(tmp_path, stand_in) as (server, client):
            with models.held_up():
                told = [clients.submit(kind, client) for kind in asking for _ in range(2)]
                for _ in range(2 * sum(asking.values())):
                    assert models.busy.acquire(timeout=20)
                began = time.monotonic()
                server.send_signal(signal.SIGTERM)
                threads = [each.result(20) for each in told]
                assert server.wait(20) in (0, -signal.SIGTERM)
            assert 1 <= time.monotonic() - began < 10
        assert len(set(threads)) == len(told)
        with process(tmp_path, stand_in) as (_, client):
            for thread in threads:
                assert client.get(f"/threads/{thread}").json()["status"] == "interrupted"
                assert client.post(f"/threads/{thread}/resume").json()["answer"] == ANSWER


def test_a_run_that_ends_within_the_grace_is_answered_and_a_new_one_is_not_taken(tmp_path: Path) -> None:
    models = Models()
    with serve_openai(models.answer) as stand_in, process(tmp_path, stand_in, grace=15) as (server, client):
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
