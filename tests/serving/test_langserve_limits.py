"""What holds for all requests holds for LangServe's: limits, clients that go away, how the server ends."""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from langserve import RemoteRunnable

from stellwerk.errors import MissingExtraError
from stellwerk.serving import app as application
from stellwerk.serving.app import create_app
from stellwerk.settings import ServingSettings, Settings
from tests.serving.remote import on, remote, told
from tests.serving.served import DOCUMENTS, RUN, Site, new_thread, refused, site
from tests.serving.test_limits import stands
from tests.serving.test_threads import ANSWER

STREAMS = ("stream", "stream_log", "stream_events")
JOB = {"instruction": "Say both"}
RESUME: Any = {"resume": None}


def wait_until_free(place: Site) -> None:
    """Wait until no run is on its way."""
    until = time.monotonic() + 20
    while place.server._app.state.runs._owners:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_body_that_is_too_large_is_refused(place: Site) -> None:
    with place.client("ada") as ada:
        for path in ("orchestrator/invoke", "workers/extract/stream"):
            refused(ada.post(f"/{path}", json={"input": {"task": "x" * 20_000}}), 413)


def test_a_run_that_takes_too_long_is_kept_as_far_as_it_is_and_goes_on(tmp_path: Path) -> None:
    with site(tmp_path, run_seconds=1.5) as place, place.client() as client, ExitStack() as stack:
        with place.models.held_up():
            streams = [
                stack.enter_context(client.stream("POST", f"/orchestrator/{route}", json={"input": RUN}))
                for route in STREAMS
            ]
            late = [
                refused(client.post("/orchestrator/invoke", json={"input": RUN}), 504),
                *(json.loads(json.dumps(told(response)[-1][1])) for response in streams),
            ]
            batch = refused(client.post("/orchestrator/batch", json={"inputs": [RUN, RUN]}), 504)
        for each in late[1:]:
            assert each["status_code"] == 504
            assert "1.5 s" in each["message"]
        for thread in [*(each["thread_id"] for each in late), *batch["thread_ids"]]:
            stands(client, thread, "interrupted")
            found = client.post("/orchestrator/invoke", json={"input": RESUME, "config": on(thread)})
            assert found.json()["output"]["answer"] == ANSWER


def test_so_many_runs_at_a_time(tmp_path: Path) -> None:
    with (
        site(tmp_path, keys=True, max_runs=3, max_runs_per_owner=2) as place,
        place.client("ada") as ada,
        place.client("bob") as bob,
        ExitStack() as stack,
    ):
        with place.models.held_up():
            for path, given in (("orchestrator", RUN), ("workers/write", JOB)):
                stack.enter_context(ada.stream("POST", f"/{path}/stream_events", json={"input": given}))
            for route in ("invoke", *STREAMS):
                full = ada.post(f"/orchestrator/{route}", json={"input": RUN})
                assert "2 of your runs" in refused(full, 429)["detail"]
                assert int(full.headers["Retry-After"]) > 0
            refused(ada.post("/orchestrator/batch", json={"inputs": [RUN]}), 429)
            refused(ada.post("/workers/write/invoke", json={"input": JOB}), 429)
            refused(ada.post(f"/threads/{new_thread(ada)}/runs", json=RUN), 429)
            stack.enter_context(bob.stream("POST", "/workers/write/stream", json={"input": JOB}))
            assert (
                "this server"
                in refused(bob.post("/workers/write/invoke", json={"input": JOB}), 429)["detail"]
            )
        stack.close()
        wait_until_free(place)
        # A batch has as many places as its owner; the others of its inputs wait for theirs.
        with remote(place) as graph:
            found = graph.batch([RUN] * 5)
        assert [each["answer"] for each in found] == [ANSWER] * 5


def test_a_batch_never_has_more_places_than_its_owner(tmp_path: Path) -> None:
    with (
        site(tmp_path, keys=True, max_runs_per_owner=2) as place,
        place.client("ada") as ada,
        place.models.held_up(),
    ):
        body = {"inputs": [JOB] * 5}
        with pytest.raises(httpx.ReadTimeout):
            ada.post("/workers/write/batch", json=body, timeout=0.7)
        wait_until_free(place)
        jobs = [each for each in place.openai.requests if "Say both" in str(each)]
        assert len(jobs) == 2


@pytest.mark.parametrize("route", ["invoke", "batch", *STREAMS])
@pytest.mark.parametrize("path", ["orchestrator", "workers/write"])
def test_a_client_that_goes_away_stops_its_runs(place: Site, path: str, route: str) -> None:
    given = RUN if path == "orchestrator" else JOB
    with place.client("ada") as ada:
        thread = new_thread(ada)
        body = {"inputs": [given]} if route == "batch" else {"input": given}
        with place.models.held_up(), place.client("ada") as leaving:
            if route in STREAMS:
                with leaving.stream("POST", f"/{path}/{route}", json={**body, "config": on(thread)}):
                    assert place.models.busy.acquire(timeout=20)
            else:
                with pytest.raises(httpx.ReadTimeout):
                    leaving.post(f"/{path}/{route}", json={**body, "config": on(thread)}, timeout=0.5)
            wait_until_free(place)  # although no model has answered
        if path == "orchestrator":
            stands(ada, thread, "interrupted")
            found = ada.post("/orchestrator/invoke", json={"input": RESUME, "config": on(thread)}).json()
            assert found["output"]["answer"] == ANSWER


async def test_a_task_of_the_client_that_is_cancelled_stops_the_run(place: Site) -> None:
    graph = RemoteRunnable[Any, Any](
        f"{place.url}/orchestrator",
        headers={"X-API-Key": place.keys["ada"]},
        client_kwargs={"trust_env": False},
    )
    async with graph.async_client:
        with place.models.held_up():
            asking = asyncio.create_task(graph.ainvoke(RUN))
            await asyncio.to_thread(place.models.busy.acquire, timeout=20)
            asking.cancel()
            await asyncio.wait([asking])
            await asyncio.to_thread(wait_until_free, place)
    graph.sync_client.close()


def test_a_stream_shows_that_it_lives(place: Site) -> None:
    with (
        place.client("ada") as ada,
        place.models.held_up(),
        ada.stream("POST", "/orchestrator/stream", json={"input": RUN}) as response,
    ):
        said = ""
        for text in response.iter_text():
            said += text
            if ": heartbeat\n\n" in said:
                place.models.go_on.set()
    assert "event: end" in said


def test_a_run_is_cancelled_as_any(place: Site) -> None:
    with place.client("ada") as ada:
        thread = new_thread(ada)
        body = {"input": RUN, "config": on(thread)}
        with place.models.held_up(), ada.stream("POST", "/orchestrator/stream_log", json=body) as response:
            assert place.models.busy.acquire(timeout=20)
            refused(ada.post("/orchestrator/invoke", json=body), 409)  # a thread has one run at a time
            refused(ada.post(f"/threads/{thread}/runs", json=RUN), 409)
            assert ada.post(f"/threads/{thread}/cancel").status_code == 202
            name, said = told(response)[-1]
        assert (name, said["status_code"]) == ("error", 409)
        assert "cancelled" in said["message"]
        with remote(place) as graph:
            assert graph.invoke(RESUME, on(thread))["answer"] == ANSWER


@pytest.mark.parametrize("path", ["orchestrator", "workers/extract"])
def test_what_fails_inside_is_not_told(place: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("postgresql://stellwerk:hunter2@db/runs")

    monkeypatch.setattr(place.server._app.state.service.probed, "find_out", fail)
    given = RUN if path == "orchestrator" else {**JOB, "documents": DOCUMENTS}
    with place.client("ada") as ada:
        for route in ("invoke", "batch", *STREAMS):
            body = {"inputs": [given]} if route == "batch" else {"input": given}
            found = ada.post(f"/{path}/{route}", json=body)
            assert "hunter2" not in found.text
            assert "Traceback" not in found.text
            assert "RuntimeError" not in found.text
            assert "The run failed" in found.text
            assert found.status_code == (200 if route in STREAMS else 500)
        with (
            remote(place, path) as graph,
            pytest.raises(httpx.HTTPStatusError, match="The run failed") as raised,
        ):
            list(graph.stream(given))
        assert raised.value.response.status_code == 500


def test_the_end_of_the_server_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with site(tmp_path, grace_seconds=0.3) as place, place.client() as client, ExitStack() as stack:
        with place.models.held_up():
            streams = [
                stack.enter_context(client.stream("POST", f"/orchestrator/{route}", json={"input": RUN}))
                for route in STREAMS
            ]
            for _ in streams:
                assert place.models.busy.acquire(timeout=20)
            place.server.handle_exit(15, None)
            ends = [told(response)[-1] for response in streams]
        assert [(name, said["status_code"]) for name, said in ends] == [("error", 503)] * 3
    with site(tmp_path) as place, place.client() as client:
        for _, said in ends:
            body = {"input": RESUME, "config": on(said["thread_id"])}
            assert client.post("/orchestrator/invoke", json=body).json()["output"]["answer"] == ANSWER


def test_what_ends_within_the_grace_is_answered(tmp_path: Path) -> None:
    with (
        site(tmp_path, grace_seconds=10) as place,
        place.client() as client,
        place.models.held_up(),
        client.stream("POST", "/orchestrator/stream_events", json={"input": RUN}) as found,
    ):
        assert place.models.busy.acquire(timeout=20)
        place.server.handle_exit(15, None)
        place.models.go_on.set()
        events = told(found)
    assert events[-1] == ("end", None)
    assert events[-2][1]["data"]["output"]["answer"] == ANSWER


class TestWhetherItIsServed:
    def paths(self, **serve: Any) -> set[str]:
        return set(create_app(Settings(serve=ServingSettings(**serve))).openapi()["paths"])

    def test_it_is_where_it_is_installed(self) -> None:
        assert {"/orchestrator/invoke", "/workers/{name}/c/{config_hash}/batch"} <= self.paths()

    def test_it_is_not_where_it_is_not_wanted_or_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = self.paths(langserve=False)
        assert "/threads/{thread}/runs" in plain
        assert not {path for path in plain if path.startswith("/orchestrator") or "invoke" in path}
        monkeypatch.setattr(application, "find_spec", lambda name: None)
        assert self.paths() == plain
        with pytest.raises(MissingExtraError, match=r"stellwerk\[langserve\]"):
            self.paths(langserve=True)

    def test_the_playground_is_left_out_by_itself(self, tmp_path: Path) -> None:
        with site(tmp_path, playground=False) as place, place.client() as client:
            refused(client.get("/orchestrator/playground/"), 404)
            assert client.get("/orchestrator/input_schema").status_code == 200
