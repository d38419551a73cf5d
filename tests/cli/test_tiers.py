"""`stellwerk tiers list` and `stellwerk tiers check`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from tests.fake_openai import serve_openai
from tests.tiers.servers import Probed, completion, error, serve_probed
from tests.tiers.test_tier import closed_port

KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture
def server() -> Iterator[Probed]:
    with serve_probed(guided_json="ignore", patterns="refuse") as server:
        yield server


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_DATABASE", str(tmp_path / "runs.sqlite"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("SMALL_KEY", KEY)


def tiers(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    names = ("small", "middle", "large")
    each: list[dict[str, Any]] = [
        {"name": name, "model": "m", "base_url": url, "api_key_env": "SMALL_KEY"}
        for name, url in zip(names, urls, strict=False)
    ]
    each[0] |= {"input_price": 0.1, "output_price": 0.4}
    monkeypatch.setenv("STELLWERK_TIERS", json.dumps(each))


def replicas(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    small = {"name": "small", "model": "m", "url": list(urls), "api_key_env": "SMALL_KEY"}
    monkeypatch.setenv("STELLWERK_TIERS", json.dumps([small]))


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tiers", *arguments])


def as_json(*arguments: str, code: int = 0) -> Any:
    result = stellwerk(*arguments, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def row(result: Result, label: str) -> str:
    (found,) = (line for line in result.stdout.splitlines() if line.strip().startswith(label))
    return found


class TestCheck:
    def test_the_table_says_what_was_seen_and_how(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        tiers(monkeypatch, server.url)
        result = stellwerk("check")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(f"small: m on vllm 0.32.0, {server.url}, checked 2")
        assert "yes" in row(result, "JSON schema enforced")
        assert "no" in row(result, "guided_json enforced").split()
        assert "accepted and ignored" in row(result, "guided_json enforced")
        assert "refused" in row(result, "schema it cannot parse").split()
        assert "4,096" in row(result, "context window")
        assert "small: asking what its server can do" in result.stderr

    def test_json_has_every_field_of_every_tier(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        tiers(monkeypatch, server.url, server.url)
        small, middle = as_json("check")
        assert (small["name"], middle["name"]) == ("small", "middle")
        assert {"name", "where", "model", "reachable", "checked_at", "capabilities"} == small.keys()
        assert small["capabilities"]["guided_json"] is False
        assert small["capabilities"]["details"]["guided_json"].startswith("accepted and ignored")

    def test_what_is_known_is_not_asked_again_unless_wished(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        tiers(monkeypatch, server.url)
        stellwerk("check")
        server.forget()
        result = stellwerk("check")
        assert (result.exit_code, server.chats, result.stderr) == (0, [], "")
        assert stellwerk("check", "--refresh").exit_code == 0
        assert server.chats

    def test_a_tier_that_cannot_be_reached_is_named_and_ends_with_1(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        nobody = f"http://127.0.0.1:{closed_port()}/v1"
        tiers(monkeypatch, nobody, server.url)
        result = stellwerk("check")
        assert result.exit_code == 1
        assert f"small cannot be used: m, {nobody}: no answer: Connect" in result.stdout
        assert "yes" in row(result, "JSON schema enforced")  # of the other one
        small, middle = as_json("check", code=1)
        assert (small["reachable"], middle["reachable"]) == (False, True)

    def test_each_server_of_a_tier_is_checked(self, monkeypatch: pytest.MonkeyPatch, server: Probed) -> None:
        dead = f"http://127.0.0.1:{closed_port()}/v1"
        tier = {"name": "small", "model": "m", "url": [server.url, dead]}
        monkeypatch.setenv("STELLWERK_TIERS", json.dumps([tier]))
        found = as_json("check", code=1)
        assert [(each["name"], each["where"], each["reachable"]) for each in found] == [
            ("small", server.url, True),
            ("small", dead, False),
        ]

    def test_a_server_that_refuses_plain_requests_is_no_better(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        server.special = lambda body: (404, error(f"no model m for {KEY}"))
        tiers(monkeypatch, server.url)
        result = stellwerk("check")
        assert result.exit_code == 1
        assert "small cannot be used: m, " in result.stdout
        assert ": no answer (404): no model m for ***" in result.stdout
        assert KEY not in result.output

    def test_of_a_tier_with_replicas_each_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        with serve_probed() as other:
            replicas(monkeypatch, server.url, other.url)
            assert [each["where"] for each in as_json("check")] == [server.url, other.url]
            (small,) = as_json("list")
            assert [each["where"] for each in small["servers"]] == [server.url, other.url]
            assert all(each["checked_at"] for each in small["servers"])
            assert "small: " + ", ".join((server.url, other.url)) in stellwerk("list").stdout

    def test_a_replica_that_is_down_is_told_and_ends_with_1(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        nobody = f"http://127.0.0.1:{closed_port()}/v1"
        replicas(monkeypatch, server.url, nobody)
        result = stellwerk("check")
        assert result.exit_code == 1
        assert f"small: m on vllm 0.32.0, {server.url}, checked" in result.stdout
        assert f"small cannot be used: m, {nobody}: no answer: Connect" in result.stdout
        assert row(stellwerk("list"), "small ").split()[-2:] == ["in", "part"]

    def test_only_the_tiers_named_are_checked(self, monkeypatch: pytest.MonkeyPatch, server: Probed) -> None:
        with serve_probed() as other:
            tiers(monkeypatch, other.url, server.url)
            (checked,) = as_json("check", "middle")
            assert checked["name"] == "middle"
            assert other.paths == []

    def test_a_name_that_is_not_there_is_wrong_usage(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        tiers(monkeypatch, server.url)
        result = stellwerk("check", "smal")
        assert result.exit_code == 2
        assert "there is no tier 'smal'; did you mean 'small'?" in result.stderr

    def test_models_in_this_process_are_known_without_a_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stellwerk.cli.tiers._absent", lambda tier: None)  # wherever this runs
        result = stellwerk("check", "smollm2-135m")
        assert result.exit_code == 0, result.stderr
        assert "on llama.cpp, in this process, known without a check" in result.stdout
        assert "ignored" in row(result, "schema it cannot parse").split()
        (known,) = as_json("check", "smollm2-135m")
        assert (known["reachable"], known["checked_at"]) == (True, None)

    def test_models_in_this_process_need_their_files(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STELLWERK_MODELS_DIR", str(tmp_path))
        result = stellwerk("check", "smollm2-135m")
        assert result.exit_code == 1
        assert "run: stellwerk models pull smollm2-135m" in result.stdout


class TestList:
    def test_tiers_with_their_prices_and_when_they_were_checked(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed
    ) -> None:
        tiers(monkeypatch, server.url, server.url)
        result = stellwerk("list")
        assert result.exit_code == 0, result.stderr
        assert row(result, "small ").split() == ["small", "m", "0.1", "/", "0.4", "32,768", "16", "never"]
        assert row(result, "middle ").split() == ["middle", "m", "not", "known", "32,768", "16", "never"]
        assert f"small: {server.url}" in result.stdout
        assert server.paths == []

    def test_a_key_that_is_missing_is_said_in_the_row_of_its_tier(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed, tmp_path: Path
    ) -> None:
        file = tmp_path / "large.key"
        each: list[dict[str, Any]] = [
            {"name": "small", "model": "m", "url": server.url, "api_key_env": "SMALL_KEY"},
            {"name": "middle", "model": "m", "url": server.url, "api_key_env": "MIDDLE_KEY"},
            {"name": "large", "model": "m", "url": server.url, "api_key_file": str(file)},
            {"name": "own", "model": "m"},
        ]
        monkeypatch.setenv("STELLWERK_TIERS", json.dumps(each))
        monkeypatch.delenv("MIDDLE_KEY", raising=False)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        missing = [None, "MIDDLE_KEY", str(file), "OPENAI_API_KEY"]
        assert [tier["key_missing"] for tier in as_json("list")] == missing
        result = stellwerk("list")
        assert row(result, "small ").split()[-1] == "never"
        assert "key missing: MIDDLE_KEY" in row(result, "middle ")
        assert KEY not in result.stdout
        file.write_text("k")
        monkeypatch.setenv("MIDDLE_KEY", "k")
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        assert [tier["key_missing"] for tier in as_json("list")] == [None] * 4

    def test_a_database_is_not_made_for_it(
        self, monkeypatch: pytest.MonkeyPatch, server: Probed, tmp_path: Path
    ) -> None:
        tiers(monkeypatch, server.url)
        as_json("list")
        assert not (tmp_path / "runs.sqlite").exists()

    def test_after_a_check_the_server_is_known(self, monkeypatch: pytest.MonkeyPatch, server: Probed) -> None:
        tiers(monkeypatch, server.url)
        stellwerk("check")
        (small,) = as_json("list")
        assert (small["server"], small["version"], small["where"]) == ("vllm", "0.32.0", server.url)
        assert small["checked_at"] is not None
        assert small["price"] == {"input": 0.1, "cached": None, "output": 0.4}

    def test_names_of_tiers_are_whole_in_a_narrow_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        result = stellwerk("list")
        assert "…" not in result.stdout
        assert row(result, "qwen2.5-coder-0.5b ").split()[0] == "qwen2.5-coder-0.5b"

    def test_embedded_models_need_no_server(self) -> None:
        smallest = as_json("list")[0]
        assert (smallest["name"], smallest["where"]) == ("smollm2-135m", "in this process")
        assert smallest["server"] == "llama.cpp"


def test_a_run_asks_what_its_servers_can_do_once_they_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And holds back what a server was seen to refuse."""
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"subtasks": [{"id": "a", "worker": "write", "instruction": "Greet", "depends_on": []}]})
    )
    answer = json.dumps({"text": "Good day."})

    def obey(body: Any) -> tuple[int, str] | None:
        content = body["messages"][-1]["content"]
        return (200, completion(probed, answer)) if "Job: Greet" in content else None

    with serve_probed(json_schema="refuse", special=obey) as probed:
        tiers(monkeypatch, probed.url)
        for times in (1, 0):
            result = CliRunner().invoke(app, ["run", "Greet", "--plan", str(plan)])
            assert result.exit_code == 0, result.stderr
            assert result.stdout == "Good day.\n"
            assert result.stderr.count("asking what the server of small can do") == times
    jobs = [body for body in probed.chats if "Job: Greet" in body["messages"][-1]["content"]]
    assert jobs
    assert not any("response_format" in body for body in jobs)
    assert all("structured_outputs" in body for body in jobs)


def test_a_run_goes_on_where_its_servers_are_too_busy_to_be_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"subtasks": [{"id": "a", "worker": "write", "instruction": "Greet", "depends_on": []}]})
    )
    with serve_openai(lambda body: {"text": "Good day."}) as server:
        tiers(monkeypatch, server.url)
        result = CliRunner().invoke(app, ["run", "Greet", "--plan", str(plan)])
        assert result.exit_code == 0, result.stderr
        assert server.probes
        assert all("response_format" in body for body in server.requests)
