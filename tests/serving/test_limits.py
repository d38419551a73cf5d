"""How much a request may bring, how long it may take, and how many there may be."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.serving.served import RUN, Site, events, new_thread, refused, site
from tests.serving.test_threads import ANSWER


def stands(client: httpx.Client, thread: str, wanted: str) -> None:
    """Wait until a thread stands there."""
    until = time.monotonic() + 20
    while (found := str(client.get(f"/threads/{thread}").json()["status"])) != wanted:
        assert time.monotonic() < until, found
        time.sleep(0.02)


@pytest.mark.parametrize("told", [True, False])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(place: Site, told: bool) -> None:
    body = b'{"task": "' + b"x" * 20_000 + b'"}'
    with place.client("ada") as ada:
        thread = new_thread(ada)
        found = ada.post(
            f"/threads/{thread}/runs",
            content=body if told else iter([body[:9_000], body[9_000:]]),
            headers={"Content-Type": "application/json"},
        )
        assert "20,000 bytes" in refused(found, 413)["detail"]


def test_a_run_that_takes_too_long_is_kept_as_far_as_it_is_and_goes_on(tmp_path: Path) -> None:
    with site(tmp_path, run_seconds=3) as place, place.client() as client:
        first, second = new_thread(client), new_thread(client)
        with (
            place.models.held_up(),
            client.stream("POST", f"/threads/{second}/runs/stream", json=RUN) as response,
        ):
            late = refused(client.post(f"/threads/{first}/runs", json=RUN), 504)
            assert late["run"] == "interrupted"
            assert events(response)[-1][1]["status"] == 504
        for thread in (first, second):
            assert client.get(f"/threads/{thread}").json()["status"] == "interrupted"
            refused(client.post(f"/threads/{thread}/runs", json=RUN), 409)
            assert client.post(f"/threads/{thread}/resume").json()["answer"] == ANSWER


def test_so_many_runs_at_a_time_of_one_owner_and_of_all(tmp_path: Path) -> None:
    with (
        site(tmp_path, keys=True, max_runs=3, max_runs_per_owner=2) as place,
        place.client("ada") as ada,
        place.client("bob") as bob,
        ExitStack() as stack,
        place.models.held_up(),
    ):
        for _ in range(2):
            path = f"/threads/{new_thread(ada)}/runs/stream"
            stack.enter_context(ada.stream("POST", path, json=RUN))
        third = new_thread(ada)
        full = ada.post(f"/threads/{third}/runs", json=RUN)
        assert "2 of your runs" in refused(full, 429)["detail"]
        assert int(full.headers["Retry-After"]) > 0
        refused(ada.post("/workers/write/runs", json={"instruction": "i"}), 429)
        stack.enter_context(bob.stream("POST", f"/threads/{new_thread(bob)}/runs/stream", json=RUN))
        assert "this server" in refused(bob.post(f"/threads/{new_thread(bob)}/runs", json=RUN), 429)["detail"]
        stack.close()  # whose clients go away give their places back
        place.models.go_on.set()
        until = time.monotonic() + 20
        while (found := ada.post(f"/threads/{third}/runs", json=RUN)).status_code == 429:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert found.json()["answer"] == ANSWER


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "invoke"])
def test_a_client_that_goes_away_stops_its_run_which_can_be_resumed(place: Site, stream: bool) -> None:
    with place.client("ada") as ada:
        thread = new_thread(ada)
        with place.models.held_up():
            with place.client("ada") as leaving:
                if stream:
                    with leaving.stream("POST", f"/threads/{thread}/runs/stream", json=RUN):
                        assert place.models.busy.acquire(timeout=20)
                else:
                    with pytest.raises(httpx.ReadTimeout):
                        leaving.post(f"/threads/{thread}/runs", json=RUN, timeout=1)
            stands(ada, thread, "interrupted")
        assert ada.post(f"/threads/{thread}/resume").json()["answer"] == ANSWER


def test_metrics_are_served_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prometheus_client")
    from stellwerk.settings import ObservabilitySettings
    from tests.serving import served

    plain = served.settings_of
    monkeypatch.setattr(
        served,
        "settings_of",
        lambda *given, **serve: plain(*given, **serve).model_copy(
            update={"observability": ObservabilitySettings(prometheus=True)}
        ),
    )
    with site(tmp_path) as place, place.client() as client:
        client.post(f"/threads/{new_thread(client)}/runs", json=RUN)
        assert 'stellwerk_runs_total{outcome="' in client.get("/metrics").text


def test_a_server_without_a_tier_is_not_ready(tmp_path: Path) -> None:
    with site(tmp_path) as place, place.client() as client:
        for tier in place.server._app.state.service.probed.ladder:
            tier.model.openai_api_base = "http://127.0.0.1:9/v1"
        found = client.get("/readyz")
        assert found.status_code == 503
        assert (found.json()["database"], found.json()["tiers"]) == (True, False)


@pytest.mark.parametrize("keys", [True, False], ids=["several owners", "one"])
def test_plans_and_answers_of_before_are_not_shared_by_owners(tmp_path: Path, keys: bool) -> None:
    task = {name: RUN[name] for name in ("task", "documents")}
    with site(tmp_path, keys=keys, keeping=True) as place, place.client("ada" if keys else None) as client:
        for _ in range(2):
            last = client.post(f"/threads/{new_thread(client)}/runs", json=task).json()
        assert ("plan_kept" in last["ledger"], "cached" in last["ledger"]) == (not keys, not keys)
