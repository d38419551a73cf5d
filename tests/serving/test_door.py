"""Who is served, and that nobody reaches what is another's."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from typer.testing import CliRunner

from stellwerk.cli import app
from stellwerk.errors import ConfigurationError
from stellwerk.serving.api_keys import ApiKeys
from stellwerk.serving.server import server_of
from stellwerk.serving.threads import inner
from stellwerk.serving.tokens import Tokens
from stellwerk.settings import ServingSettings, Settings
from tests.serving.served import (
    ASKING,
    AUDIENCE,
    ISSUER,
    RUN,
    SECRET,
    Site,
    new_thread,
    refused,
    site,
    token,
)


@pytest.fixture(scope="module")
def theirs(place: Site) -> tuple[str, str, str]:
    """A thread of Ada's that is done, one that asks, and its question."""
    with place.client("ada") as ada:
        done, asking = new_thread(ada), new_thread(ada)
        assert ada.post(f"/threads/{done}/runs", json=RUN).status_code == 200
        (question,) = ada.post(f"/threads/{asking}/runs", json=ASKING).json()["questions"]
    return done, asking, question["id"]


def named(thread: str) -> str:
    """As the database knows a thread of Ada's."""
    return inner("key:ada", thread)


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/threads/{}", None),
    ("DELETE", "/threads/{}", None),
    ("POST", "/threads/{}/runs", RUN),
    ("POST", "/threads/{}/runs/stream", RUN),
    ("POST", "/threads/{}/resume", None),
    ("POST", "/threads/{}/resume", "answer"),
    ("POST", "/threads/{}/resume/stream", "answer"),
    ("POST", "/threads/{}/cancel", None),
    ("POST", "/threads/{}/feedback", {"score": 0.0}),
    ("POST", "/threads/{}/feedback", {"score": 0.0, "subtask": "rent"}),
]
NAMES: dict[str, Callable[[str], str]] = {
    "its id": lambda thread: thread,
    "the name in the database": named,
    "its digest": lambda thread: named(thread).removeprefix("served-"),
    "another case": str.upper,
    "a path": lambda thread: f"..%2Fthreads%2F{thread}",
    "with an owner": lambda thread: f"key:ada%2F{thread}",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_thread_of_another_is_one_that_there_is_not(
    place: Site, theirs: tuple[str, str, str], method: str, path: str, body: Any, name: str
) -> None:
    _, asking, question = theirs
    sent = {"answers": {question: {"type": "approve"}}} if body == "answer" else body
    with place.client("bob") as other, place.client("ada") as ada:
        before = ada.get(f"/threads/{asking}").json()
        found = other.request(method, path.format(NAMES[name](asking)), json=sent)
        absent = other.request(method, path.format("0" * 32), json=sent)
        if "%2F" not in NAMES[name](asking):  # else it may be no route at all
            assert (found.status_code, found.content) == (absent.status_code, absent.content)
        refused(found, 404)
        assert ada.get(f"/threads/{asking}").json() == before


@pytest.mark.parametrize(
    ("headers", "params", "more"),
    [
        ({"X-Thread-Id": "THREAD"}, {}, {}),
        ({"X-Owner": "key:ada"}, {"owner": "key:ada"}, {}),
        ({"X-Forwarded-User": "ada", "X-Stellwerk-Owner": "ada"}, {}, {}),
        ({}, {"thread_id": "THREAD", "checkpoint_ns": "", "checkpoint_id": "x"}, {}),
        ({}, {}, {"config": {"configurable": {"thread_id": "THREAD"}}}),
        ({}, {}, {"configurable": {"thread_id": "THREAD", "checkpoint_ns": ""}}),
        ({}, {}, {"checkpoint_id": "THREAD"}),
        ({}, {}, {"thread": "THREAD"}),
        ({}, {}, {"owner": "key:ada"}),
        ({}, {}, {"metadata": {"thread_id": "THREAD"}}),
    ],
)
def test_nothing_in_a_request_leads_to_another_thread(
    place: Site, theirs: tuple[str, str, str], headers: Any, params: Any, more: Any
) -> None:
    done, asking, _ = theirs

    def filled(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("THREAD", named(asking)))

    with place.client("bob") as bob, place.client("ada") as ada:
        before = [ada.get(f"/threads/{thread}").json() for thread in (done, asking)]
        own = new_thread(bob)
        sent = bob.post(
            f"/threads/{own}/runs",
            json={**RUN, **filled(more)},
            headers=filled(headers),
            params=filled(params),
        )
        assert sent.status_code == (422 if more else 200)
        listed = bob.get("/threads", headers=filled(headers), params=filled(params)).json()["threads"]
        assert not {done, asking} & {each["id"] for each in listed}
        assert [ada.get(f"/threads/{thread}").json() for thread in (done, asking)] == before


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_key_of_ada_and_a_token_of_ada_are_two_owners(
    place: Site, theirs: tuple[str, str, str], method: str, path: str, body: Any
) -> None:
    sent = {"answers": {theirs[2]: {"type": "approve"}}} if body == "answer" else body
    with place.client("token") as by_token:
        refused(by_token.request(method, path.format(theirs[1]), json=sent), 404)


class TestKeys:
    @pytest.mark.parametrize("path", ["/threads", "/workers", "/v1/models", "/metrics"])
    @pytest.mark.parametrize("key", ["", "sw_", "sw_wrong", "Bearer", "ada", "a.b.c", "sw_\xff"])
    def test_without_a_right_one_nothing_is_shown(self, place: Site, path: str, key: str) -> None:
        headers = {b"Authorization": f"Bearer {key}".encode("latin-1")} if key else {}
        with place.client() as nobody:
            found = nobody.get(path, headers=headers)
        refused(found, 401)
        assert found.headers["WWW-Authenticate"] == "Bearer"

    def test_one_is_made_shown_once_and_taken_at_once(self, place: Site, tmp_path: Path) -> None:
        folder = tmp_path / "other"
        folder.mkdir()
        path = folder / "api_keys"
        made = CliRunner().invoke(app, ["serve", "key", "eve", "--file", str(path)])
        assert made.exit_code == 0, made.stderr
        key = made.stdout.strip()
        assert path.stat().st_mode & 0o077 == 0
        assert key not in path.read_text()
        keys = ApiKeys(path)
        assert (keys.name_of(key), keys.name_of(key + "x")) == ("eve", None)
        second = CliRunner().invoke(app, ["serve", "key", "eve", "--file", str(path)]).stdout.strip()
        assert (keys.name_of(key), keys.name_of(second)) == ("eve", "eve")
        path.write_text(path.read_text().splitlines()[1] + "\n")  # the first one is taken back
        assert (keys.name_of(key), keys.name_of(second)) == (None, "eve")
        path.write_text("eve:broken\n")
        assert keys.name_of(second) is None

    def test_a_file_that_cannot_be_trusted_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "api_keys"
        with pytest.raises(ConfigurationError, match="stellwerk serve key NAME"):
            ApiKeys(path)
        path.write_text("ada sw_secret\n")
        with pytest.raises(ConfigurationError, match="line 1") as raised:
            ApiKeys(path)
        assert "sw_secret" not in str(raised.value)
        path.write_text("")
        path.chmod(0o666)
        with pytest.raises(ConfigurationError, match="chmod o-w"):
            ApiKeys(path)

    def test_a_name_that_would_break_a_line_is_refused(self, tmp_path: Path) -> None:
        made = CliRunner().invoke(app, ["serve", "key", "a:b", "--file", str(tmp_path / "api_keys")])
        assert made.exit_code == 2
        assert not (tmp_path / "api_keys").exists()


def unsigned(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 60, **claims}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(said)}."


class TestTokens:
    @pytest.mark.parametrize(
        "given",
        [
            unsigned(),
            unsigned(sub="bob"),
            token("another secret that is long enough, and not the one of this server"),
            token(algorithm="HS512"),
            token(exp=time.time() - 60),
            token(exp=None),
            token(iss="https://elsewhere.example"),
            token(iss=None),
            token(aud="other"),
            token(aud=None),
            token(sub=None),
            token(sub=""),
            token(nbf=time.time() + 600),
            token()[:-4],
        ],
    )
    def test_one_that_is_not_right_is_refused(self, place: Site, given: str) -> None:
        with place.client() as nobody:
            refused(nobody.get("/threads", headers={"Authorization": f"Bearer {given}"}), 401)

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
    def test_a_public_key_checks_and_is_no_secret_of_another_algorithm(
        self, tmp_path: Path, algorithm: str
    ) -> None:
        made: Any = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        public = made.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        path = tmp_path / "public.pem"
        path.write_bytes(public)
        tokens = Tokens(
            ServingSettings(
                jwt_key_file=path, jwt_algorithm=algorithm, jwt_issuer=ISSUER, jwt_audience=AUDIENCE
            )
        )
        assert tokens.subject_of(token(made, algorithm)) == "ada"
        assert tokens.subject_of(token(SECRET)) is None
        assert tokens.subject_of(unsigned()) is None

    def test_a_key_that_cannot_check_is_told_before_the_start_and_not_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        told = {"jwt_key_file": path, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
        path.write_text("hunter2")
        for algorithm in ("HS256", "RS256", "ES256"):
            with pytest.raises(ConfigurationError, match="jwt_key_file") as raised:
                Tokens(ServingSettings(**told, jwt_algorithm=algorithm))
            assert "hunter2" not in str(raised.value)

    def test_half_of_what_tokens_need_is_refused(self) -> None:
        with pytest.raises(ValueError, match="set all four"):
            ServingSettings(jwt_issuer=ISSUER)


class TestWithoutKeys:
    def test_only_this_machine_is_served(self, tmp_path: Path) -> None:
        with site(tmp_path) as alone, alone.client() as client:
            thread = new_thread(client)
            assert client.post(f"/threads/{thread}/runs", json=RUN).json()["status"] == "done"
            refused(client.get("/threads", headers={"Host": "stellwerk.example"}), 403)
            refused(client.post("/threads", headers={"Origin": "https://stellwerk.example"}), 403)
            refused(client.post("/threads", headers={"Origin": "null"}), 403)
            assert client.post("/threads", headers={"Origin": "http://localhost:3000"}).status_code == 201
            forwarded = client.get("/threads", headers={"X-Forwarded-For": "203.0.113.7"})
            assert forwarded.status_code == 200

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
    def test_an_address_that_others_reach_is_refused_with_the_remedy(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match="stellwerk serve key NAME"):
            server_of(Settings(serve=ServingSettings(host=host)))

    def test_the_command_says_so_in_a_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("STELLWERK_TIERS", '[{"name": "a", "model": "m", "url": "http://127.0.0.1:9/v1"}]')
        result = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"])
        assert result.exit_code == 2
        assert result.stderr.startswith("stellwerk: serve.host: 0.0.0.0 can be reached from elsewhere")
