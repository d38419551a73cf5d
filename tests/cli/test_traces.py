import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from tests.fake_openai import Body, FakeOpenAI, RefusalError, job_of, serve_openai

KEY = "sk-very-secret-0123456789"
PLAN = {
    "subtasks": [
        {"id": "sales", "worker": "extract", "instruction": "What were sales?", "depends_on": []},
        {"id": "text", "worker": "write", "instruction": "Say it", "depends_on": ["sales"]},
    ]
}
ANSWERS = {"What were sales?": {"answer": ["100 dollars"]}, "Say it": {"text": "Sales were 100 dollars."}}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with serve_openai(lambda body: ANSWERS[job_of(body)]) as server:
        yield server


@pytest.fixture
def database(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiers = [
        server.tier("small", input_price=0.1, output_price=0.2, api_key_env="SOME_KEY"),
        server.tier("large", input_price=1, output_price=2, api_key_env="SOME_KEY"),
    ]
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setenv("STELLWERK_TIERS", json.dumps(tiers))
    monkeypatch.setenv("STELLWERK_DATABASE", str(tmp_path / "runs.sqlite"))
    return tmp_path / "runs.sqlite"


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def run_once(tmp_path: Path) -> Result:
    (tmp_path / "report.txt").write_text("Sales in 2020 were 100 dollars.\n")
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    files = ("--file", str(tmp_path / "report.txt"), "--plan", str(tmp_path / "plan.json"))
    return stellwerk("run", "Sales?", *files, "--thread", "mine")


def listed(*arguments: str) -> Any:
    result = stellwerk("traces", "list", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.usefixtures("database")
def test_a_run_leaves_its_traces(tmp_path: Path) -> None:
    result = run_once(tmp_path)
    assert result.exit_code == 0, result.stderr
    second, first = listed("--thread", "mine")
    assert (first["worker"], first["subtask"], first["tier"]) == ("extract", "sales", "small")
    assert first["model"] == "small-model"
    assert (first["input"], first["cached"], first["output"]) == (100, 60, 10)
    assert "Sales in 2020" in json.dumps(first["prompt"])
    assert json.loads(second["answer"]) == ANSWERS["Say it"]
    shown = stellwerk("traces", "list").stdout
    assert first["trace_id"] in shown


def test_no_table_holds_the_key(server: FakeOpenAI, database: Path, tmp_path: Path) -> None:
    """Also where a server repeats it in an error."""

    def tells(body: Body) -> object:
        if job_of(body) == "What were sales?":
            raise RefusalError(401, f"no such key: {KEY}")
        return ANSWERS[job_of(body)]

    assert run_once(tmp_path).exit_code == 0
    server.answer = tells
    assert run_once(tmp_path).exit_code == 1
    assert f"Bearer {KEY}" in server.keys
    attempts = listed("--rejected")
    assert {attempt["reason"] for attempt in attempts} == {"tier"}
    assert "no such key: ***" in attempts[0]["detail"]
    for file in database.parent.glob("runs.sqlite*"):
        assert KEY.encode() not in file.read_bytes(), file


def judged(*arguments: str) -> Any:
    result = stellwerk("traces", "judge", "--share", "1", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.usefixtures("database")
def test_a_large_tier_judges_what_was_answered(server: FakeOpenAI, tmp_path: Path) -> None:
    assert run_once(tmp_path).exit_code == 0
    text, sales = (attempt["trace_id"] for attempt in listed())

    def judge(body: Body) -> object:
        assert body["model"] == "large-model"
        return {"why": "it says 100 dollars", "right": "Say it" not in json.dumps(body)}

    server.answer = judge
    assert stellwerk("traces", "feedback", sales, "--label", "right", "--source", "gold").exit_code == 0
    done = judged()
    assert (done["right"], done["wrong"], done["agreement"]["pairs"]) == (1, 1, 1)
    assert done["usd"] > 0
    again = judged()
    assert (again["right"], again["before"]) == (0, 2)
    shown = stellwerk("traces", "judge", "--share", "1", "--usd", "1").stdout
    assert "2 of the sample judged before" in shown
    assert "agrees with people in 1 of 1 answers (0.03 to 1.00 at 95 %)" in shown
    said = json.loads(stellwerk("traces", "feedback", text, "--json").stdout)
    assert [(one["source"], one["who"], one["label"]) for one in said] == [("judge", "large", "wrong")]
    assert "judge  large  wrong" in stellwerk("traces", "feedback", text).stdout


@pytest.mark.usefixtures("database")
def test_a_judge_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    assert run_once(tmp_path).exit_code == 0
    for arguments, said in (
        (("--tier", "lrage"), "did you mean 'large'?"),
        (("--share", "2"), "share is 2.0"),
        (("--usd", "0"), "may cost 0.0 USD"),
    ):
        result = stellwerk("traces", "judge", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
