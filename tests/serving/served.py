"""A real server on loopback, in a thread, with a stand-in for its models."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
from pydantic import SecretStr

from stellwerk.serving.api_keys import new_key
from stellwerk.serving.server import Server, server_of
from stellwerk.settings import CacheSettings, PlanningSettings, Settings
from tests.cli.test_run import ANSWERS, PLAN, TEXT
from tests.fake_openai import Body, FakeOpenAI, ToolCalls, job_of, serve_openai, title_of

SECRET = "a shared secret that is long enough for each of the algorithms with one"
ISSUER, AUDIENCE = "https://id.example", "stellwerk"
DOCUMENTS = [{"name": "report.txt", "text": TEXT}]
RUN: dict[str, Any] = {"task": "Sales and rent?", "documents": DOCUMENTS, "plan": PLAN}
ASKING: dict[str, Any] = {
    "task": "Tea",
    "plan": {"subtasks": [{"id": "b", "worker": "boss", "instruction": "Tea"}]},
}


@dataclass
class Models:
    """What stands in for all models. `slow` holds up every answer while it is cleared."""

    go_on: threading.Event = field(default_factory=threading.Event)
    busy: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.go_on.set()

    def answer(self, body: Body) -> object:
        self.busy.release()
        assert self.go_on.wait(20)
        told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        if body.get("tools") and not told:
            return ToolCalls([(body["tools"][0]["function"]["name"], '{"what": "tea"}')])
        if title_of(body) == "plan":
            return PLAN
        return ANSWERS.get(job_of(body)) or {"text": told[-1] if told else "nothing"}

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """No answer comes in the block."""
        self.go_on.clear()
        while self.busy.acquire(blocking=False):
            pass
        try:
            yield
        finally:
            self.go_on.set()


@dataclass
class Site:
    """A server, and who may use it."""

    url: str
    server: Server
    openai: FakeOpenAI
    models: Models
    keys: dict[str, str]

    def client(self, name: str | None = None, **options: Any) -> httpx.Client:
        """For an owner; for somebody without a key if None."""
        headers = {} if name is None else {"Authorization": f"Bearer {self.keys[name]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, **options)


def settings_of(
    openai: FakeOpenAI, folder: Path, *, url: str | None = None, keeping: bool = False, **serve: Any
) -> Settings:
    tiers: Any = [
        openai.tier("small", input_price=0.1, cached_price=0.05, output_price=0.2),
        openai.tier("large", input_price=1, cached_price=0.5, output_price=2),
    ]
    return Settings(
        tiers=tiers,
        planning=PlanningSettings(reuse_plans=keeping),
        cache=CacheSettings(ttl=60 if keeping else None),
        workers=("extract", "write", "tests.cli.asking:boss"),
        database=folder / "runs.sqlite",
        database_url=None if url is None else SecretStr(url),
        serve={"port": 0, "heartbeat_seconds": 0.2, "grace_seconds": 5, **serve},
    )


def closed(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings under which two owners have keys, and one a token as well."""
    keys = {name: new_key(folder / "api_keys", name) for name in ("ada", "bob")}
    (folder / "secret").write_text(SECRET)
    keys["token"] = token()
    serve = {
        "api_keys_file": folder / "api_keys",
        "jwt_key_file": folder / "secret",
        "jwt_algorithm": "HS256",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
    }
    return serve, keys


def token(key: Any = SECRET, algorithm: str | None = "HS256", **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 60, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, key, algorithm)


@contextmanager
def site(folder: Path, *, keys: bool = False, models: Models | None = None, **serve: Any) -> Iterator[Site]:
    models = models or Models()
    told, owners = closed(folder) if keys else ({}, {})
    with serve_openai(models.answer) as openai:
        server = server_of(settings_of(openai, folder, **told, **serve))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Site(f"http://127.0.0.1:{port}", server, openai, models, owners)
        finally:
            models.go_on.set()
            server.handle_exit(2, None)
            thread.join(20)
            assert not thread.is_alive()


def new_thread(client: httpx.Client) -> str:
    made = client.post("/threads")
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """Names and values of the events of a stream, to its end; heartbeats have no value."""
    found = []
    for block in "".join(response.iter_text()).split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "" in lines:
            found.append((lines[""], None))
        elif lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """A problem of this status, with a remedy."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found
