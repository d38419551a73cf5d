from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stellwerk.settings import PeopleSettings
from tests.serving import served
from tests.serving.served import DOCUMENTS, Site, events, refused, site

JOB = {"instruction": "What were sales?", "documents": DOCUMENTS}


@pytest.fixture
def ada(place: Site) -> Iterator[httpx.Client]:
    with place.client("ada") as client:
        yield client


def test_they_are_listed_with_what_they_do(ada: httpx.Client) -> None:
    found = ada.get("/workers").json()
    assert [worker["name"] for worker in found["workers"]] == ["extract", "write", "boss"]
    assert found["tiers"] == ["small", "large"]


def test_one_makes_one_attempt_on_the_tier_that_is_asked_for(ada: httpx.Client) -> None:
    found = ada.post("/workers/extract/runs", json={**JOB, "tier": "large"}).json()
    assert found["verdict"] == {"accepted": True}
    assert found["value"]["answer"] == ["100 dollars"]
    assert [call["tier"] for call in found["calls"]] == ["large"]


def test_a_stream_tells_the_steps(ada: httpx.Client) -> None:
    with ada.stream("POST", "/workers/extract/runs/stream", json=JOB) as response:
        told = events(response)
    assert [value["step"] for name, value in told if name == "progress"] == ["generate", "verify"]
    assert told[-1][1]["value"]["answer"] == ["100 dollars"]


def test_what_there_is_not_is_refused(ada: httpx.Client) -> None:
    assert "extract" in refused(ada.post("/workers/none/runs", json=JOB), 404)["detail"]
    assert "large" in refused(ada.post("/workers/extract/runs", json={**JOB, "tier": "huge"}), 422)["detail"]
    refused(ada.post("/workers/extract/runs", json={**JOB, "terms": {}}), 422)


def test_one_that_the_settings_want_approved_is_not_run_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = served.settings_of
    monkeypatch.setattr(
        served,
        "settings_of",
        lambda *given, **serve: plain(*given, **serve).model_copy(
            update={"people": PeopleSettings(approve=("extract",))}
        ),
    )
    with site(tmp_path) as place, place.client() as client:
        assert "name it in a plan" in refused(client.post("/workers/extract/runs", json=JOB), 409)["detail"]
        assert not place.openai.requests


def test_what_fails_inside_costs_neither_a_secret_nor_the_connection(
    place: Site, ada: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("postgresql://stellwerk:hunter2@db/runs")

    monkeypatch.setattr(place.server._app.state.service.probed, "find_out", fail)
    for _ in range(2):
        found = ada.post("/workers/extract/runs", json=JOB)
        refused(found, 500)
        assert "hunter2" not in found.text
