"""The report under `/report`: whose runs it shows, and to whom."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stellwerk.serving import report_page
from stellwerk.serving.app import create_app
from stellwerk.serving.threads import inner, scope_of
from stellwerk.settings import Settings
from tests.report.pages import Page
from tests.serving.served import DOCUMENTS, RUN, Site, new_thread, site
from tests.serving.test_browser import HTML, basic

OWNERS = ("ada", "bob", "token")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, str]]]:
    """A server, and a thread with a run of each owner; Ada has had a worker do something besides."""
    with site(tmp_path_factory.mktemp("reported"), keys=True) as place:
        threads = {}
        for name in OWNERS:
            with place.client(name) as client:
                threads[name] = new_thread(client)
                task = f"The secret of {name}?"
                done = client.post(f"/threads/{threads[name]}/runs", json={**RUN, "task": task})
                assert done.json()["status"] == "done"
        with place.client("ada") as client:
            job = {"instruction": "What were sales?", "documents": DOCUMENTS}
            assert client.post("/workers/extract/runs", json=job).is_success
        yield place, threads


def told(place: Site, name: str, path: str = "report.json") -> Any:
    with place.client(name) as client:
        found = client.get(f"/report/{path}")
    assert found.status_code == 200, found.text
    return found.json()


@pytest.mark.parametrize("name", OWNERS)
def test_each_owner_is_shown_what_is_theirs_and_no_more(ran: tuple[Site, dict[str, str]], name: str) -> None:
    place, threads = ran
    data = told(place, name)
    (run,) = data["runs"]
    assert run["thread_id"] == threads[name]
    assert run["task"] == f"The secret of {name}?"
    assert data["totals"]["outcomes"] == {"ok": 1}
    assert sum(one["attempts"] for one in data["workers"]) == len(RUN["plan"]["subtasks"]) + (name == "ada")
    with place.client(name) as client:
        index = client.get("/report/", params={"since": "all"}, headers=HTML)
        page = client.get("/report/run", params={"thread": threads[name]}, headers=HTML)
    for shown in (index, page):
        assert shown.status_code == 200
        Page(shown.text).check(scripts=True)
        assert f"The secret of {name}?" in shown.text
        for other in OWNERS:
            if other != name:
                assert f"The secret of {other}" not in shown.text
                assert threads[other] not in shown.text
    # What the model was asked, and what it said.
    said = " ".join(Page(page.text).text.split())
    assert "What were sales?" in said
    assert "100 dollars" in said


@pytest.mark.parametrize("path", ["run", "run.json", "pulse.json"])
def test_a_run_of_another_is_one_that_there_is_not(ran: tuple[Site, dict[str, str]], path: str) -> None:
    place, threads = ran
    hers = told(place, "ada")["runs"][0]["run_id"]
    assert told(place, "ada", f"run.json?run={hers}")["run"]["run_id"] == hers
    named = inner("key:ada", threads["ada"])
    with place.client("bob") as bob, place.client("token") as token:
        absent = bob.get(f"/report/{path}?run=0123456789abcdef")
        assert absent.status_code == 404
        for client in (bob, token):
            for query in (
                {"run": hers},
                {"run": hers, "thread": threads["ada"]},
                {"run": hers, "thread": named},
                {"run": hers[:8]},
                {"run": "", "thread": named},
                {"run": "", "thread": threads["ada"]},
            ):
                found = client.get(f"/report/{path}", params=query)
                assert (found.status_code, found.content) == (404, absent.content), query


def test_nobody_is_shown_anything(ran: tuple[Site, dict[str, str]]) -> None:
    place, threads = ran
    with place.client() as nobody:
        for path in ("", "run", "report.json", "run.json", "pulse.json", "static/report.js", "nothing"):
            for headers in ({}, HTML, basic("sw_wrong")):
                found = nobody.get(f"/report/{path}", params={"thread": threads["ada"]}, headers=headers)
                assert found.status_code == 401
                assert "secret" not in found.text


def test_a_browser_gets_there_with_a_password(ran: tuple[Site, dict[str, str]]) -> None:
    place, _ = ran
    with place.client(follow_redirects=True) as browser:
        index = browser.get("/report", headers={**HTML, **basic(place.keys["ada"])})
        assert index.history[0].headers["Location"] == "report/"  # whatever proxy is in front
        (link,) = re.findall(r'href="(run\?[^"]*)"', index.text)
        address = httpx.URL(str(index.url)).join(link.replace("&amp;", "&"))
        assert browser.get(address, headers={**HTML, **basic(place.keys["ada"])}).status_code == 200
        assert browser.get(address, headers={**HTML, **basic(place.keys["bob"])}).status_code == 404


def test_names_of_owners_begin_alike_for_no_two_of_them() -> None:
    scopes = [scope_of(owner) for owner in ("key:ada", "key:ad", "key:ada-", "jwt:ada", "local")]
    assert not any(one != other and one.startswith(other) for one in scopes for other in scopes)
    assert all(inner("key:ada", name).startswith(scope_of("key:ada")) for name in ("", "0" * 32))


def test_without_keys_this_machine_sees_all_of_the_database(tmp_path: Path) -> None:
    with site(tmp_path) as alone, alone.client() as client:
        thread = new_thread(client)
        assert client.post(f"/threads/{thread}/runs", json=RUN).json()["status"] == "done"
        (run,) = client.get("/report/report.json").json()["runs"]
        assert run["thread_id"] == thread
        assert client.get("/report/", headers=HTML).status_code == 200
        elsewhere = client.get("/report/", headers={**HTML, "Host": "stellwerk.example"})
        assert elsewhere.status_code == 403


def test_without_jinja2_there_is_no_page_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report_page, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        app = create_app(Settings())
    assert "pip install 'stellwerk[report]'" in caplog.text
    assert not [route for route in app.routes if getattr(route, "path", "") == "/report"]
