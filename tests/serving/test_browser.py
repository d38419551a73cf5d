"""What browsers send: passwords, and that no page of another site makes use of them."""

import base64
from collections.abc import Mapping

import httpx
import pytest

from stellwerk.serving.browser import from_another_site, from_own_page, password_of, shows_page
from tests.serving.served import RUN, Site, refused
from tests.serving.test_threads import ANSWER

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def basic(password: str, user: str = "ada") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class TestPasswords:
    @pytest.mark.parametrize("user", ["ada", "", "somebody else", "ä"])
    @pytest.mark.parametrize("owner", ["ada", "token"])
    def test_a_key_or_a_token_is_one_under_any_name(self, place: Site, owner: str, user: str) -> None:
        with place.client(owner) as known, place.client() as browser:
            thread = known.post("/threads").json()["id"]
            found = browser.get(f"/threads/{thread}", headers=basic(place.keys[owner], user))
            assert found.status_code == 200
            posted = browser.post("/threads", headers=basic(place.keys[owner], user))
            assert posted.status_code == 201

    @pytest.mark.parametrize("sent", ["", "sw_wrong", "a.b.c", "ada"])
    def test_a_wrong_one_is_asked_for_again_where_a_page_is_to_be_shown(self, place: Site, sent: str) -> None:
        with place.client() as browser:
            page = browser.get("/report/", headers={**HTML, **basic(sent)})
            data = browser.get("/report/report.json", headers=basic(sent))
            posted = browser.post("/threads", headers={**HTML, **basic(sent)})
        assert page.status_code == 401
        assert page.headers["WWW-Authenticate"] == 'Basic realm="Stellwerk", charset="UTF-8"'
        assert page.headers["Content-Type"].startswith("text/plain")
        assert "give it as the password" in page.text
        for other in (data, posted):
            refused(other, 401)
            assert other.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "header",
        [
            "Basic",
            "Basic ",
            "Basic ???",
            "Basic YQ",
            "Basic /w==",
            "Bearer " + base64.b64encode(b"a:b").decode(),
        ],
    )
    def test_what_cannot_be_read_is_none(self, header: str) -> None:
        assert password_of(header) == ""

    def test_a_password_may_have_colons(self) -> None:
        assert password_of(basic("a:b:c")["Authorization"]) == "a:b:c"


OWN = "http://agents.example:8080"


class TestOtherSites:
    @pytest.mark.parametrize(
        "sent",
        [
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "same-site", "origin": OWN},
            {"sec-fetch-site": "what may come"},
            {"sec-fetch-site": "same-origin", "origin": "https://other.example"},
            {"origin": "https://other.example"},
            {"origin": "http://agents.example"},
            {"origin": "http://agents.example:8081"},
            {"origin": "http://agents.example.other.example:8080"},
            {"origin": "null"},
            {"origin": ""},
            {"origin": "http://[::1"},
        ],
    )
    def test_what_their_pages_ask_for_is_known(self, sent: Mapping[str, str]) -> None:
        assert from_another_site({"host": "agents.example:8080", **sent})

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"sec-fetch-site": "none"},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "same-origin", "origin": OWN},
            {"origin": OWN},
            {"host": "agents.example", "origin": "https://agents.example"},
            {"host": "agents.example", "origin": "https://agents.example:443"},
            {"host": "agents.example:80", "origin": "http://agents.example"},
            {"host": "[::1]:8080", "origin": "http://[::1]:8080"},
        ],
    )
    def test_what_a_person_asks_for_is_not_mistaken(self, sent: Mapping[str, str]) -> None:
        assert not from_another_site({"host": "agents.example:8080", **sent})

    @pytest.mark.parametrize("sent", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://other.example"}])
    def test_they_have_no_use_of_a_password_but_of_what_programs_send(
        self, place: Site, sent: Mapping[str, str]
    ) -> None:
        key = place.keys["ada"]
        with place.client() as browser:

            def ask(method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
                return browser.request(method, path, headers={**headers, **sent})

            for method, path in (("GET", "/threads"), ("POST", "/threads"), ("GET", "/report/report.json")):
                refused(ask(method, path, basic(key)), 403)
                # These headers no page can make a browser send without asking the server.
                assert ask(method, path, {"Authorization": f"Bearer {key}"}).is_success
                assert ask(method, path, {**basic("of a proxy"), "X-API-Key": key}).is_success
            page = ask("GET", "/report/", {**HTML, **basic(key)})
        assert page.status_code == 403
        assert "enter this address by itself" in page.text


class TestOwnPages:
    @pytest.mark.parametrize(
        ("sent", "own"),
        [
            ({"sec-fetch-site": "same-origin"}, True),
            ({"sec-fetch-site": "cross-site", "origin": OWN}, False),
            ({"sec-fetch-site": "none"}, False),
            ({"origin": OWN}, True),
            ({"referer": f"{OWN}/report/run?run=1"}, True),
            ({"origin": "null", "referer": f"{OWN}/report/"}, False),
            ({"referer": "http://other.example/"}, False),
            ({}, False),
        ],
    )
    def test_what_they_ask_for_is_known(self, sent: Mapping[str, str], own: bool) -> None:
        assert from_own_page({"host": "agents.example:8080", **sent}) is own

    def test_they_are_asked_for_the_password_also_elsewhere(self, place: Site) -> None:
        """A browser sends it below the page's address only, until it is asked for it elsewhere."""
        with place.client() as browser:
            found = browser.post("/threads", headers={"Sec-Fetch-Site": "same-origin"})
        refused(found, 401)
        assert found.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/report", True),
        ("/report/run", True),
        ("/orchestrator/playground/", True),
        ("/workers/extract/playground/", True),
        ("/threads", False),
        ("/reports", False),
        ("/workers/extract/runs", False),
    ],
)
def test_pages_are_known_by_their_paths(path: str, shown: bool) -> None:
    assert shows_page("GET", path, {"accept": HTML["Accept"]}) is shown
    assert not shows_page("GET", path, {"accept": "*/*"})
    assert not shows_page("POST", path, {"accept": HTML["Accept"]})


def test_the_playground_is_opened_with_a_password_and_runs(place: Site) -> None:
    pytest.importorskip("langserve", reason="needs the extra `langserve`")
    key, page = basic(place.keys["ada"]), "/orchestrator/playground/"
    with place.client() as browser:
        asked = browser.get(page, headers=HTML)
        assert (asked.status_code, asked.headers["WWW-Authenticate"].partition(" ")[0]) == (401, "Basic")
        shown = browser.get(page, headers={**HTML, **key})
        assert (shown.status_code, shown.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
        own = {"Sec-Fetch-Site": "same-origin", "Origin": place.url, **key}
        done = browser.post("/orchestrator/invoke", json={"input": RUN}, headers=own)
        assert done.json()["output"]["answer"] == ANSWER
        refused(
            browser.post(
                "/orchestrator/invoke", json={"input": RUN}, headers={**own, "Sec-Fetch-Site": "cross-site"}
            ),
            403,
        )
