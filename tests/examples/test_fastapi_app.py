"""The application of the examples, on a real server and a real model."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from examples import fastapi_app
from stellwerk import SQLAlchemySaver

pytestmark = [pytest.mark.model, pytest.mark.server]
LETTERS = [
    "My name is Ingrid Olsen, and I live in Bergen. When does my parcel come?",
    "Please send the invoice to Maria Rossi in Turin.",
]
INGRID = {"letter-1": {"name": "Ingrid Olsen", "city": "Bergen"}}


class Started(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        """As in uvicorn."""
        await super().startup(sockets)
        self.ready.set()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("batches") / "batches.sqlite")


@pytest.fixture(scope="module")
def client(database: str) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastapi_app, "DATABASE", database)
        server = Started(uvicorn.Config(fastapi_app.app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert server.ready.wait(30)
            port = server.servers[0].sockets[0].getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as found:
                yield found
        finally:
            server.should_exit = True
            thread.join(30)


def test_a_batch_is_read_and_can_be_looked_at_later(client: httpx.Client, database: str) -> None:
    batch = client.post("/batches", json={"letters": LETTERS}).json()
    assert batch["contacts"] == INGRID
    assert "is not in the letter" in batch["missing"]["letter-2"]
    assert batch["usd"] > 0
    assert client.get(f"/batches/{batch['id']}").json() == batch
    assert Path(database).exists()


def test_each_letter_is_told_as_it_is_read(client: httpx.Client) -> None:
    with client.stream("POST", "/batches/stream", json={"letters": LETTERS}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        blocks = "".join(response.iter_text()).strip().split("\n\n")
    events = [block.removeprefix("event: ").split("\ndata: ") for block in blocks]
    assert [name for name, _ in events] == ["batch", "letter", "letter", "done"]
    batch, *letters, done = (json.loads(data) for _, data in events)
    told = {letter["id"]: letter for letter in letters}
    assert told["letter-1"]["value"] == INGRID["letter-1"]
    assert told["letter-2"]["status"] == "failed"
    assert (done["id"], done["contacts"]) == (batch["id"], INGRID)


def test_a_batch_that_broke_off_is_resumed(client: httpx.Client, database: str) -> None:
    batch = fastapi_app.Batch(letters=LETTERS[:1])
    with SQLAlchemySaver.from_url(database) as saver:
        graph = fastapi_app.reader.compile(checkpointer=saver, interrupt_before=["synthesize"])
        graph.invoke(fastapi_app.given(batch), fastapi_app.thread("broken"))
    assert client.get("/batches/broken").status_code == 404
    assert client.post("/batches/broken/resume").json()["contacts"] == INGRID
    assert client.get("/batches/broken").json()["contacts"] == INGRID
    assert client.post("/batches/broken/resume").status_code == 404


def test_what_is_not_there_or_not_allowed_is_refused(client: httpx.Client) -> None:
    assert client.get("/batches/unknown").status_code == 404
    assert client.post("/batches", json={"letters": []}).status_code == 422
