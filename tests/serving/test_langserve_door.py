"""Nobody reaches another's thread by LangServe's routes, however it is named."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from stellwerk.persistence.lease import LEASE_KEY
from tests.serving.remote import hashed, on
from tests.serving.served import ASKING, DOCUMENTS, RUN, Site, new_thread, refused
from tests.serving.test_door import NAMES, named
from tests.serving.test_threads import ANSWER

ONE = ("invoke", "stream", "stream_log", "stream_events")
RESUME: Any = {"resume": {"type": "approve"}}
Way = Callable[[httpx.Client, str, Any, str], httpx.Response]


@pytest.fixture(scope="module")
def theirs(place: Site) -> str:
    """A thread of Ada's that asks."""
    with place.client("ada") as ada:
        asking = ada.post("/orchestrator/invoke", json={"input": ASKING}).json()["output"]
    return str(asking["thread_id"])


def _body(route: str) -> Way:
    return lambda client, thread, given, _: client.post(
        f"/orchestrator/{route}", json={"input": given, "config": on(thread)}
    )


def _hash(route: str) -> Way:
    return lambda client, thread, given, _: client.post(
        f"/orchestrator/c/{hashed(on(thread))}/{route}", json={"input": given, "config": {"configurable": {}}}
    )


def _batch(client: httpx.Client, thread: str, given: Any, own: str) -> httpx.Response:
    return client.post("/orchestrator/batch", json={"inputs": [given], "config": on(thread)})


def _second_of_a_batch(client: httpx.Client, thread: str, given: Any, own: str) -> httpx.Response:
    configs = [on(own), on(thread)]
    return client.post("/orchestrator/batch", json={"inputs": [RUN, given], "config": configs})


def _batch_by_hash(client: httpx.Client, thread: str, given: Any, own: str) -> httpx.Response:
    path = f"/orchestrator/c/{hashed(on(thread))}/batch"
    return client.post(path, json={"inputs": [given], "config": [{"tags": ["mine"]}]})


def _own_by_hash(client: httpx.Client, thread: str, given: Any, own: str) -> httpx.Response:
    path = f"/orchestrator/c/{hashed(on(own))}/invoke"
    return client.post(path, json={"input": given, "config": on(thread)})


def _at_a_checkpoint(client: httpx.Client, thread: str, given: Any, own: str) -> httpx.Response:
    config = on(thread, checkpoint_ns="", checkpoint_map={"": "1f1ea339-914a-680f-8000-893093e207a7"})
    return client.post("/orchestrator/invoke", json={"input": given, "config": config})


WAYS: dict[str, Way] = {
    **{f"{route}, in the body": _body(route) for route in ONE},
    **{f"{route}, in the path": _hash(route) for route in ONE},
    "batch, for all": _batch,
    "batch, for one": _second_of_a_batch,
    "batch, in the path": _batch_by_hash,
    "over one's own in the path": _own_by_hash,
    "with a place in it": _at_a_checkpoint,
}


@pytest.mark.parametrize("given", [RUN, RESUME, {"resume": None}], ids=["run", "answer", "resume"])
@pytest.mark.parametrize("way", WAYS)
def test_a_thread_of_another_is_one_that_there_is_not(place: Site, theirs: str, way: str, given: Any) -> None:
    with place.client("bob") as bob, place.client("ada") as ada:
        before = ada.get(f"/threads/{theirs}").json()
        own = new_thread(bob)
        found = WAYS[way](bob, theirs, given, own)
        absent = WAYS[way](bob, "0" * 32, given, own)
        assert (found.status_code, found.content) == (absent.status_code, absent.content)
        refused(found, 404)
        assert bob.get(f"/threads/{own}").json()["status"] == "new"
        assert ada.get(f"/threads/{theirs}").json() == before


@pytest.mark.parametrize("name", NAMES)
def test_nor_by_another_name_of_it(place: Site, theirs: str, name: str) -> None:
    with place.client("bob") as bob:
        body = {"input": RESUME, "config": on(NAMES[name](theirs))}
        for route in ("invoke", "stream"):
            refused(bob.post(f"/orchestrator/{route}", json=body), 404)


def test_a_token_of_ada_is_another_owner_than_her_key(place: Site, theirs: str) -> None:
    with place.client("token") as by_token:
        refused(by_token.post("/orchestrator/invoke", json={"input": RESUME, "config": on(theirs)}), 404)


OTHERS: list[tuple[dict[str, str], dict[str, str], dict[str, Any], dict[str, Any]]] = [
    # headers, query, what is in the config, what is in the body
    ({"X-Thread-Id": "THREAD", "Thread-Id": "THREAD"}, {}, {}, {}),
    ({"X-Owner": "key:ada", "X-Forwarded-User": "ada", "X-Stellwerk-Owner": "ada"}, {}, {}, {}),
    ({"User-Agent": "THREAD"}, {}, {}, {}),
    ({}, {"thread_id": "THREAD", "config_hash": "THREAD", "owner": "key:ada"}, {}, {}),
    ({}, {}, {"metadata": {"thread_id": "THREAD", "langgraph_checkpoint_ns": ""}}, {}),
    ({}, {}, {"tags": ["THREAD"], "run_name": "THREAD", "run_id": "THREAD"}, {}),
    ({}, {}, {"thread_id": "THREAD", "checkpoint_ns": "", "owner": "key:ada"}, {}),
    ({}, {}, {"callbacks": ["THREAD"], "recursion_limit": 1, "max_concurrency": 1}, {}),
    ({}, {}, {"configurable": {"__stellwerk_visit__": {"owner": "key:ada"}}}, {}),
    ({}, {}, {"configurable": {LEASE_KEY: {"thread_id": "THREAD", "token": 99}}}, {}),
    ({}, {}, {"configurable": {"__pregel_resuming": True, "__pregel_checkpointer": "THREAD"}}, {}),
    ({}, {}, {"configurable": {"checkpoint_ns": "THREAD", "checkpoint_map": {"": "THREAD"}}}, {}),
    ({}, {}, {"configurable": {"owner": "key:ada"}}, {}),
    ({}, {}, {"configurable": {"checkpoint_id": "THREAD"}}, {}),
    ({}, {}, {"configurable": {"langgraph_auth_user": {"identity": "key:ada"}}}, {}),
    ({}, {}, {"configurable": {"run_id": "THREAD"}}, {}),
    ({}, {}, {}, {"kwargs": {"config": {"configurable": {"thread_id": "THREAD"}}, "stream_mode": "debug"}}),
    ({}, {}, {}, {"thread_id": "THREAD"}),
    ({}, {}, {}, {"server_config": {"configurable": {"thread_id": "THREAD"}}}),
]


ELSEWHERE = [
    pytest.param(where, *other, id=f"{number}, in the {where}")
    for number, other in enumerate(OTHERS)
    for where in ("body", "path", "batch")
    if where == "body" or "configurable" in other[2]  # the rest of a config is the same everywhere
]


@pytest.mark.parametrize(("where", "headers", "query", "config", "more"), ELSEWHERE)
def test_nothing_else_leads_to_it(
    place: Site, theirs: str, where: str, headers: Any, query: Any, config: Any, more: Any
) -> None:
    def filled(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("THREAD", named(theirs)))

    with place.client("bob") as bob, place.client("ada") as ada:
        before = ada.get(f"/threads/{theirs}").json()
        body: dict[str, Any] = {"inputs": [ASKING]} if where == "batch" else {"input": ASKING}
        path = "/orchestrator/" + ("batch" if where == "batch" else "invoke")
        if where == "path":
            path = f"/orchestrator/c/{hashed(filled(config))}/invoke"
        else:
            body["config"] = [filled(config)] if where == "batch" else filled(config)
        found = bob.post(path, json={**body, **filled(more)}, headers=filled(headers), params=filled(query))
        if found.status_code != 422:
            made = found.json()["output"]
            (made,) = made if where == "batch" else (made,)
            assert made["thread_id"] != theirs
            assert bob.get(f"/threads/{made['thread_id']}").json()["status"] == "waiting"
            assert named(theirs) not in found.text
        else:
            assert "THREAD" in json.dumps([config, more]) or "owner" in str(config) or "auth" in str(config)
        assert ada.get(f"/threads/{theirs}").json() == before


@pytest.mark.parametrize("route", ONE)
def test_a_thread_means_nothing_to_a_worker(place: Site, theirs: str, route: str) -> None:
    with place.client("bob") as bob, place.client("ada") as ada:
        before = ada.get(f"/threads/{theirs}").json()
        job = {"instruction": "What were sales?", "documents": DOCUMENTS}
        for thread in theirs, named(theirs):
            found = bob.post(f"/workers/extract/{route}", json={"input": job, "config": on(thread)})
            assert found.status_code == 200
            assert thread not in found.text
        assert ada.get(f"/threads/{theirs}").json() == before


def test_events_have_the_thread_as_its_owner_knows_it(place: Site) -> None:
    with place.client("ada") as ada:
        thread = new_thread(ada)
        for route in ("stream_events", "stream_log"):
            found = ada.post(f"/orchestrator/{route}", json={"input": RUN, "config": on(thread)})
            assert thread in found.text
            assert named(thread) not in found.text
            assert LEASE_KEY not in found.text
            assert "__stellwerk" not in found.text


ROUTES = [
    *(("POST", f"/orchestrator/{route}") for route in (*ONE, "batch")),
    *(("POST", f"/orchestrator/c/{hashed({})}/{route}") for route in (*ONE, "batch")),
    *(("POST", f"/workers/extract/{route}") for route in (*ONE, "batch")),
    *(("GET", f"/orchestrator/{name}_schema") for name in ("input", "output", "config")),
    *(("GET", f"/{path}/playground/") for path in ("orchestrator", "workers/extract")),
    ("GET", "/orchestrator/playground/favicon.ico"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_key_there_is_nothing(place: Site, method: str, path: str) -> None:
    with place.client() as nobody:
        for headers in ({}, {"Authorization": "Bearer sw_wrong"}, {"X-API-Key": "ada"}):
            body = {"input": RUN} if method == "POST" else None
            refused(nobody.request(method, path, json=body, headers=headers), 401)


def test_what_ada_made_stays_hers(place: Site, theirs: str) -> None:
    with place.client("ada") as ada, place.client("bob") as bob:
        made = ada.post("/orchestrator/invoke", json={"input": RUN}).json()["output"]
        assert made["answer"] == ANSWER
        listed = {each["id"] for each in bob.get("/threads", params={"limit": 100}).json()["threads"]}
        assert not {made["thread_id"], theirs} & listed
        refused(bob.get(f"/threads/{made['thread_id']}"), 404)
