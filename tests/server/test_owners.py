"""LangGraph's server with keys: what is another's is not there."""

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

pytest.importorskip("langgraph_api")

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from stellwerk.serving.api_keys import new_key
from tests.fake_openai import serve_openai
from tests.server.test_studio import REPORT, ROOT, answer, langgraph_dev, poll

pytestmark = pytest.mark.server
GIVEN: dict[str, Any] = {"task": "What were sales?", "documents": [REPORT]}


class Served:
    """A server, and its owners' keys."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.url = url
        self.keys = keys

    def sdk(self, name: str) -> SyncLangGraphClient:
        return get_sync_client(url=self.url, headers={"Authorization": f"Bearer {self.keys[name]}"})

    def ask(self, name: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        """As an owner, or as nobody."""
        headers = {} if name is None else {"X-API-Key": self.keys[name]}
        headers.update(options.pop("headers", {}))
        return httpx.request(
            method, f"{self.url}{path}", headers=headers, timeout=20, trust_env=False, **options
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("owners")
    keys = {name: new_key(folder / "api_keys", name) for name in ("ada", "bob")}
    with serve_openai(answer) as openai:
        settings = {
            "STELLWERK_TIERS": json.dumps([openai.tier("small"), openai.tier("large")]),
            "STELLWERK_SERVE": json.dumps({"api_keys_file": str(folder / "api_keys")}),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        with langgraph_dev(folder, settings) as client:
            yield Served(str(client.http.client.base_url).rstrip("/"), keys)


@pytest.fixture(scope="module")
def threads(served: Served) -> dict[str, str]:
    """A thread of each owner, with a run."""
    made = {}
    for name in served.keys:
        with served.sdk(name) as client:
            made[name] = client.threads.create()["thread_id"]
            state: Any = client.runs.wait(
                made[name], "orchestrator", input={**GIVEN, "task": f"The sales of {name}?"}
            )
            assert state["answer"]
    return made


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/threads/{}", None),
    ("PATCH", "/threads/{}", {"metadata": {"owner": "key:bob"}}),
    ("DELETE", "/threads/{}", None),
    ("POST", "/threads/{}/copy", None),
    ("GET", "/threads/{}/state", None),
    ("POST", "/threads/{}/state", {"values": {"task": "other"}}),
    ("GET", "/threads/{}/history", None),
    ("GET", "/threads/{}/runs", None),
    ("POST", "/threads/{}/runs", {"assistant_id": "orchestrator", "input": GIVEN}),
    ("POST", "/threads/{}/runs/wait", {"assistant_id": "orchestrator", "input": GIVEN}),
    ("POST", "/threads/{}/runs/stream", {"assistant_id": "orchestrator", "input": GIVEN}),
]


def test_a_thread_of_another_is_one_that_there_is_not(served: Served, threads: dict[str, str]) -> None:
    hers, nobodys = threads["ada"], str(uuid4())
    for method, path, body in ROUTES:
        found, absent = [
            served.ask("bob", method, path.format(thread), json=body) for thread in (hers, nobodys)
        ]
        # The server answers 409 where a copy is asked for, also of a thread that there is not.
        assert found.status_code == (409 if path.endswith("copy") else 404), (method, path)
        assert found.status_code == absent.status_code
        assert found.text.replace(hers, nobodys) == absent.text
    taken = served.ask("bob", "POST", "/threads", json={"thread_id": hers, "if_exists": "do_nothing"})
    assert taken.status_code == 409
    for name, thread in threads.items():
        found = served.ask(name, "POST", "/threads/search", json={})
        assert [each["thread_id"] for each in found.json()] == [thread]
        assert served.ask(name, "GET", f"/threads/{thread}/state").json()["values"]["answer"]


def test_nobody_is_served_who_does_not_say_who_they_are(served: Served, threads: dict[str, str]) -> None:
    basic = httpx.BasicAuth("ada", served.keys["ada"])
    thread = f"/threads/{threads['ada']}"
    assert served.ask(None, "GET", thread, auth=basic).status_code == 200
    # Studio's own scheme, for which the server has a way in of its own, and a page of another site.
    for headers in ({}, {"X-Auth-Scheme": "langsmith"}, {"X-API-Key": "sw_wrong"}):
        assert served.ask(None, "GET", thread, headers=headers).status_code == 401
    elsewhere = served.ask(None, "GET", thread, auth=basic, headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403


def test_the_graphs_are_for_all_and_an_assistant_for_its_maker(served: Served) -> None:
    body = {"graph_id": "orchestrator", "name": "cheap", "metadata": {"created_by": "system"}}
    made = served.ask("ada", "POST", "/assistants", json=body).json()["assistant_id"]

    def names(owner: str) -> list[str]:
        found = served.ask(owner, "POST", "/assistants/search", json={"graph_id": "orchestrator"})
        return sorted(each["name"] for each in found.json())

    assert (names("ada"), names("bob")) == (["cheap", "orchestrator"], ["orchestrator"])
    for method, path, sent in (
        ("GET", f"/assistants/{made}", None),
        ("PATCH", f"/assistants/{made}", {"name": "mine"}),
        ("DELETE", f"/assistants/{made}", None),
        ("POST", "/runs/wait", {"assistant_id": made, "input": GIVEN}),
    ):
        assert served.ask("bob", method, path, json=sent).status_code == 404, path
    orchestrator = served.ask("bob", "POST", "/assistants/search", json={}).json()[0]["assistant_id"]
    assert served.ask("bob", "PATCH", f"/assistants/{orchestrator}", json={"name": "x"}).status_code == 404


def test_items_of_the_memory_are_for_whoever_put_them_there(served: Served) -> None:
    with served.sdk("ada") as ada, served.sdk("bob") as bob:
        ada.store.put_item(["people"], "likes", {"colour": "green"})
        (item,) = ada.store.search_items(["people"])["items"]
        assert item["value"] == {"colour": "green"}
        assert ada.store.get_item(item["namespace"], "likes")["value"] == {"colour": "green"}
        assert bob.store.search_items([])["items"] == []
        assert bob.store.search_items(item["namespace"])["items"] == []
        assert bob.store.list_namespaces([])["namespaces"] == []
        bob.store.delete_item(item["namespace"], "likes")
        assert ada.store.get_item(["people"], "likes")["value"] == {"colour": "green"}


def test_the_report_shows_each_owner_their_own(served: Served, threads: dict[str, str]) -> None:
    alone = served.ask("ada", "POST", "/runs/wait", json={"assistant_id": "orchestrator", "input": GIVEN})
    assert alone.json()["answer"]

    def runs(name: str) -> list[Any]:
        found: list[Any] = served.ask(name, "GET", "/report/report.json").json()["runs"]
        return [run for run in found if run["outcome"] == "ok"]

    tasks = {run["task"] for run in poll(lambda: runs("ada"), 2)}
    assert tasks == {"The sales of ada?", GIVEN["task"]}  # without a thread of hers, too
    (his,) = poll(lambda: runs("bob"), 1)
    assert his["task"] == "The sales of bob?"
    for path in ("run", "run.json", "pulse.json"):
        query = {"run": his["run_id"], "thread": threads["bob"]}
        assert served.ask("bob", "GET", f"/report/{path}", params=query).status_code == 200
        assert served.ask("ada", "GET", f"/report/{path}", params=query).status_code == 404
    page = served.ask(None, "GET", "/report/", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert page.headers["WWW-Authenticate"].startswith("Basic ")
