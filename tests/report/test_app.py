"""The application, mounted in another, as a browser asks it."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from stellwerk.persistence.report_units import Visible, threads_of
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.app import report_app
from stellwerk.report.overview import overview
from tests.persistence.traces import run as traced_run
from tests.report.pages import Page


def client(app: object) -> httpx.AsyncClient:
    mounted = Starlette(routes=[Mount("/report", app)])  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=mounted), base_url="http://shop.test/report/")


@pytest.fixture
async def browser(traces: TraceStore) -> AsyncIterator[httpx.AsyncClient]:
    async with client(report_app(traces)) as made:
        yield made


async def test_each_link_of_a_page_leads_to_one_that_a_strict_policy_shows(
    browser: httpx.AsyncClient,
) -> None:
    index = await browser.get("")
    page = Page(index.text)
    page.check(scripts=True)
    addresses = {link["href"] for link in page.all("a")} | {"./"}
    addresses |= {link["href"] for link in page.all("link") if not link["href"].startswith("data:")}
    addresses |= {script["src"] for script in page.all("script")}
    assert len([address for address in addresses if address.startswith("run?")]) == 24
    for address in sorted(addresses)[:12]:
        found = await browser.get(address)
        assert found.status_code == 200, address
        policy = found.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        )
        assert "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        if found.headers["content-type"].startswith("text/html"):
            Page(found.text).check(scripts=True)


async def test_data_are_those_of_the_page(browser: httpx.AsyncClient, traces: TraceStore) -> None:
    data = (await browser.get("report.json?since=all")).json()
    assert data["totals"]["saving"]["usd_large"] == pytest.approx(overview(traces).totals.saving.usd_large)
    run = data["runs"][0]
    query = urlencode({"run": run["run_id"], "thread": run["thread_id"]})
    one = (await browser.get(f"run.json?{query}")).json()
    assert one["run"]["run_id"] == run["run_id"]
    assert one["subtasks"][0]["attempts"][0]["prompt"] is None


@pytest.mark.parametrize(
    ("address", "status"),
    [("run?run=nobody", 404), ("run", 400), ("?since=ever", 400), ("run?run=0", 400), ("nothing", 404)],
)
async def test_what_is_not_there_is_told(browser: httpx.AsyncClient, address: str, status: int) -> None:
    assert (await browser.get(address)).status_code == status


async def test_who_asks_sees_their_own_runs_only(traces: TraceStore) -> None:
    def visible(request: Request) -> Visible:
        return threads_of(request.headers["x-user"] + ":")

    hers = next(run for run in overview(traces).runs if run.thread_id.startswith("ada:"))
    async with client(report_app(traces, visible=visible)) as browser:
        bob = {"x-user": "bob"}
        page = await browser.get("", headers=bob)
        assert page.text.count('href="run?') == 4
        assert "ada:" not in page.text
        for address in ("run", "run.json", "pulse.json"):
            assert (await browser.get(f"{address}?run={hers.run_id}", headers=bob)).status_code == 404
            assert (
                await browser.get(f"{address}?run={hers.run_id}", headers={"x-user": "ada"})
            ).status_code == 200


async def test_a_page_with_a_running_run_is_live_and_its_pulse_changes(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with TraceStore.from_url(tmp_path / "runs.sqlite") as traces:
        traces.run(traced_run("one", outcome="running", started_at=now, updated_at=now))
        async with client(report_app(traces)) as browser:
            page = await browser.get("")
            (pulse,) = re.findall(r'data-pulse="([^"]*)" data-live', page.text)
            assert (await browser.get("pulse.json")).json() == {"pulse": pulse}
            later = now + timedelta(seconds=1)
            traces.run(traced_run("one", outcome="ok", started_at=now, updated_at=later))
            traces.flush()
            assert (await browser.get("pulse.json")).json() != {"pulse": pulse}
            assert "data-live" not in (await browser.get("")).text
