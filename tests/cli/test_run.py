import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from stellwerk.cli.render import plain
from tests.fake_openai import Body, FakeOpenAI, RefusalError, job_of, serve_openai, title_of
from tests.persistence.conftest import database

TEXT = "Sales in 2020 were 100 dollars.\nRent in 2020 was 20 dollars.\n"
PLAN = {
    "subtasks": [
        {"id": "sales", "worker": "extract", "instruction": "What were sales?", "depends_on": []},
        {"id": "rent", "worker": "extract", "instruction": "What was rent?", "depends_on": []},
        {"id": "text", "worker": "write", "instruction": "Say both", "depends_on": ["sales", "rent"]},
    ]
}
ANSWERS: dict[str, object] = {
    "What were sales?": {"answer": ["100 dollars"]},
    "What was rent?": {"answer": ["20 dollars"]},
    "Say both": {"text": "Sales were 100 dollars and rent 20 dollars."},
}


def answer(body: Body) -> object:
    return PLAN if title_of(body) == "plan" else ANSWERS[job_of(body)]


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


@pytest.fixture
def environment(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    tiers = [
        server.tier("small", input_price=0.1, cached_price=0.05, output_price=0.2),
        server.tier("large", input_price=1, cached_price=0.5, output_price=2),
    ]
    values = {"STELLWERK_TIERS": json.dumps(tiers), "STELLWERK_DATABASE": str(tmp_path / "runs.sqlite")}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "report.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return str(path)


def stellwerk(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.mark.usefixtures("environment")
class TestRun:
    def test_the_answer_alone_goes_to_standard_output(self, text: str) -> None:
        result = stellwerk("run", "Sales and rent?", "--file", text)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "Sales were 100 dollars and rent 20 dollars.\n"

    def test_progress_and_ledger_go_to_standard_error(self, text: str) -> None:
        lines = stellwerk("run", "Sales and rent?", "--file", text).stderr.splitlines()
        assert "planning" in lines
        assert "plan: 3 subtasks" in lines
        assert "sales: extract on small, attempt 1" in lines
        assert any(line.startswith("text: accepted on small (") for line in lines)
        assert any(line.split()[:4] == ["small", "3", "300", "180"] for line in lines)
        assert any(line.split()[:2] == ["attempts", "3:"] for line in lines)
        assert any(line.startswith("all large") for line in lines)

    def test_json_is_one_object(self, text: str) -> None:
        result = stellwerk("run", "Sales and rent?", "--file", text, "--thread", "mine", "--json")
        run = json.loads(result.stdout)
        assert list(run) == ["thread", "status", "answer", "results", "failure", "ledger", "final_plan"]
        assert (run["thread"], run["status"]) == ("mine", "done")
        assert run["failure"] is None
        assert run["results"]["sales"]["value"]["answer"] == ["100 dollars"]
        assert run["ledger"]["by_tier"]["small"]["usd"] == pytest.approx(
            3 * (40 * 0.1 + 60 * 0.05 + 10 * 0.2) / 1e6
        )

    def test_a_given_plan_is_run_without_planning(self, server: FakeOpenAI, text: str, plan: str) -> None:
        result = stellwerk("run", "Sales and rent?", "--file", text, "--plan", plan)
        assert result.exit_code == 0, result.stderr
        assert server.asked("plan") == []

    def test_a_document_from_standard_input(self, server: FakeOpenAI, text: str) -> None:
        result = stellwerk("run", "Sales and rent?", "--file", "-", stdin=TEXT)
        assert result.exit_code == 0, result.stderr
        assert "Rent in 2020 was 20 dollars." in server.asked("Spans")[0]["messages"][1]["content"]

    def test_two_files_of_the_same_name_stay_apart(self, server: FakeOpenAI, tmp_path: Path) -> None:
        paths = [tmp_path / "a" / "x.txt", tmp_path / "b" / "x.txt"]
        for path in paths:
            path.parent.mkdir()
            path.write_text(TEXT)
        assert stellwerk("run", "Both?", "-f", str(paths[0]), "-f", str(paths[1])).exit_code == 0
        assert f'name="{paths[1]}"' in server.asked("Spans")[0]["messages"][1]["content"]

    def test_documents_are_not_echoed(self, tmp_path: Path) -> None:
        path = tmp_path / "long.txt"
        path.write_text(TEXT + "confidential " * 1000)
        result = stellwerk("run", "Sales and rent?", "--file", str(path))
        assert result.exit_code == 0
        assert "confidential" not in result.output

    def test_an_escalation_is_told_with_its_reason(self, server: FakeOpenAI, text: str) -> None:
        def invents(body: Body) -> object:
            if body["model"] == "small-model" and job_of(body) == "What was rent?":
                return {"answer": ["999 crowns"]}
            return answer(body)

        server.answer = invents
        result = stellwerk("run", "Sales and rent?", "--file", text)
        assert result.exit_code == 0, result.stderr
        assert "rent: rejected on small (check: ValueError: '999 crowns' is not in the doc" in result.stderr
        assert "rent: extract on large, attempt 2" in result.stderr
        assert "4: 3 accepted, 1 rejected (extract: 1 check)" in result.stderr

    def test_a_failed_subtask_leaves_a_partial_answer(self, server: FakeOpenAI, text: str) -> None:
        def never(body: Body) -> object:
            if job_of(body) == "What was rent?":
                raise RefusalError(400, "no such thing")
            return answer(body)

        server.answer = never
        result = stellwerk("run", "Sales and rent?", "--file", text, "--thread", "partial")
        assert result.exit_code == 1
        assert "100 dollars" in result.stdout
        assert "not done: 1 of 3 subtasks done; missing: rent, text" in result.stderr
        assert "rent (look_up, " in result.stderr or "rent (extract, " in result.stderr
        assert "text (write): dependency: needs rent" in result.stderr
        again = stellwerk("resume", "partial")
        assert (again.exit_code, again.stdout) == (1, result.stdout)

    def test_models_cannot_drive_the_terminal(self, server: FakeOpenAI, text: str) -> None:
        evil = "[bold]x[/nope] \x1b[2J\x1b]0;title\x07\x9b1m\u202egnp.exe"
        server.answer = lambda body: {"text": evil} if title_of(body) == "Text" else answer(body)
        result = stellwerk("run", "Sales and rent?", "--file", text)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "[bold]x[/nope] gnp.exe\n"
        assert not set("\x1b\x07\x9b\u202e") & set(result.stderr)

    def test_on_a_terminal_the_plan_is_shown_with_what_came_of_it(
        self, server: FakeOpenAI, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "120")
        server.answer = lambda body: "no json" if body["model"] == "small-model" else answer(body)
        result = stellwerk("run", "Sales and rent?", "--file", text)
        shown = plain(result.stderr)
        assert "3 of 3 subtasks done" in shown
        assert any(line.split()[1:5] == ["✓", "rent", "extract", "large"] for line in shown.splitlines())
        assert "✗ small  not_json: the answer is not JSON" in shown


@pytest.mark.usefixtures("environment")
class TestOfBefore:
    def test_a_plan_that_is_used_again_is_told(self, server: FakeOpenAI, text: str) -> None:
        for _ in range(2):
            result = stellwerk("run", "Sales and rent?", "--file", text, "--reuse-plans")
            assert result.exit_code == 0, result.stderr
        assert len(server.asked("plan")) == 1
        assert re.search(r"^the plan kept at .* UTC is used again$", result.stderr, re.M)
        assert re.search(r"^planning +no call; the plan kept at .* was used again", result.stderr, re.M)

    def test_answers_of_before_are_free_and_told(
        self, server: FakeOpenAI, text: str, plan: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ["run", "Sales and rent?", "--file", text, "--plan", plan]
        for _ in range(2):
            result = stellwerk(*arguments, "--cache")
            assert result.exit_code == 0, result.stderr
        assert len(server.requests) == 3
        assert "3: 3 accepted, 0 rejected; 3 from the cache, free" in result.stderr
        assert any(line.split()[:4] == ["total", "0", "0", "0"] for line in result.stderr.splitlines())
        monkeypatch.setenv("STELLWERK_CACHE__TTL", "60")
        assert "3 from the cache, free" in stellwerk(*arguments).stderr
        assert "from the cache" not in stellwerk(*arguments, "--no-cache").stderr

    def test_what_gave_no_result_is_planned_anew_as_often_as_is_said(
        self, server: FakeOpenAI, text: str, plan: str
    ) -> None:
        again = {"id": "again", "worker": "write", "instruction": "Say the rent", "depends_on": []}

        def never(body: Body) -> object:
            if job_of(body) == "What was rent?":
                raise RefusalError(400, "no such thing")
            if title_of(body) == "plan":
                return {"subtasks": [again]}
            return {"text": "20 dollars."} if job_of(body) == "Say the rent" else answer(body)

        server.answer = never
        arguments = ["run", "Sales and rent?", "--file", text, "--plan", plan]
        assert stellwerk(*arguments).exit_code == 1
        result = stellwerk(*arguments, "--replans", "1", "--thread", "mine")
        assert result.exit_code == 0, result.stderr
        assert "planned anew: 1 subtask for what gave no result" in result.stderr
        assert "(after an interruption: stellwerk resume mine --replans 1)" in result.stderr


@pytest.mark.usefixtures("environment")
class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run", " "], "the task is empty"),
            (["run", "x", "-f", "/nowhere.txt"], "cannot read /nowhere.txt: No such file"),
            (["run", "x", "-f", sys.executable], "is not UTF-8 text"),
            (["run", "x", "--plan", "/nowhere.json"], "cannot read /nowhere.json"),
            (["run", "x", "--thread", "../x"], "thread '../x' is not usable"),
            (["run", "x", "--database", "/dev/null/x"], "cannot open the database /dev/null/x"),
            (["run", "x", "--replans", "11"], "--replans"),
            (["resume", "nobody"], "there is no database "),
        ],
    )
    def test_it_is_said_what_is_wrong(self, server: FakeOpenAI, arguments: list[str], message: str) -> None:
        result = stellwerk(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stdout == ""
        assert server.requests == []

    @pytest.mark.parametrize(
        ("subtasks", "message"),
        [
            ([{"id": "a", "worker": "cook", "instruction": "x"}], "unknown worker 'cook'"),
            (
                [
                    {"id": "a", "worker": "write", "instruction": "x", "depends_on": ["b"]},
                    {"id": "b", "worker": "write", "instruction": "x", "depends_on": ["a"]},
                ],
                "in a circle",
            ),
        ],
    )
    def test_a_wrong_plan(self, tmp_path: Path, subtasks: list[Any], message: str) -> None:
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(subtasks))
        result = stellwerk("run", "x", "--plan", str(path))
        assert result.exit_code == 2
        assert message in result.stderr

    def test_standard_input_that_is_no_text(self) -> None:
        result = stellwerk("run", "x", "-f", "-", stdin=b"\xff\xfe")
        assert result.exit_code == 2
        assert "standard input is not UTF-8 text" in result.stderr

    def test_wrong_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STELLWERK_TIERS", '[{"name": "a"}]')
        result = stellwerk("run", "x")
        assert result.exit_code == 2
        assert "STELLWERK_TIERS.0.model: it is missing" in result.stderr

    def test_absent_model_files_are_named_before_anything_starts(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("STELLWERK_TIERS")
        monkeypatch.setenv("STELLWERK_MODELS_DIR", str(tmp_path))
        monkeypatch.setenv("STELLWERK_MODELS", '["smollm2-135m"]')
        result = stellwerk("run", "x", "--json")
        assert result.exit_code == 1
        assert "run: stellwerk models pull smollm2-135m" in result.stderr
        assert result.stdout == ""
        assert not (tmp_path / "runs.sqlite").exists()


class Held:
    """Answers, but holds the jobs that are named until released or for good."""

    def __init__(self, *jobs: str) -> None:
        self.jobs = set(jobs)
        self.reached = threading.Event()
        self.release = threading.Event()

    def __call__(self, body: Body) -> object:
        if job_of(body) in self.jobs:
            self.reached.set()
            self.release.wait(30)
        return answer(body)


class TestResume:
    def broken_off(
        self, server: FakeOpenAI, environment: dict[str, str], arguments: list[str], number: int
    ) -> tuple[int, str, str]:
        """Run in a process of its own until rent is asked for, with sales done; then send the signal."""
        held = Held("What was rent?")
        server.answer = held
        process = subprocess.Popen(
            [sys.executable, "-m", "stellwerk.cli", "run", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        said = ""
        try:
            for line in process.stderr:
                said += line
                if line.startswith("sales: accepted"):
                    break
            assert held.reached.wait(30), said
            process.send_signal(number)
            stdout, rest = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
            held.release.set()
            server.answer = answer
        return process.returncode, stdout, said + rest

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_after_a_signal_nothing_accepted_is_done_again(
        self, server: FakeOpenAI, environment: dict[str, str], text: str, number: int, code: int
    ) -> None:
        arguments = ["Sales and rent?", "--file", text, "--thread", "mine"]
        exit_code, stdout, stderr = self.broken_off(server, environment, arguments, number)
        assert exit_code == code
        assert stdout == ""
        assert "To go on: stellwerk resume mine\n" in stderr
        assert "Traceback" not in stderr
        before = len(server.requests)
        result = stellwerk("resume", "mine", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["answer"] == "Sales were 100 dollars and rent 20 dollars."
        assert [job_of(body) for body in server.requests[before:]] == ["What was rent?", "Say both"]

    def test_a_thread_that_is_not_finished_takes_no_other_task(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        self.broken_off(server, environment, ["x", "--file", text, "--thread", "mine"], signal.SIGINT)
        result = stellwerk("run", "Something else", "--thread", "mine")
        assert result.exit_code == 2
        assert "thread mine is not finished; run: stellwerk resume mine" in result.stderr

    def test_a_thread_runs_once_at_a_time(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        held = Held("What was rent?")
        server.answer = held
        process = subprocess.Popen(
            [sys.executable, "-m", "stellwerk.cli", "run", "x", "-f", text, "--thread", "mine"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert held.reached.wait(30)
            result = stellwerk("resume", "mine")
            assert result.exit_code == 2
            assert "thread mine is running in another process" in result.stderr
            assert re.search(r"if that process is dead, its thread is free in \d+ s", result.stderr)
            held.release.set()
            assert process.wait(30) == 0
        finally:
            held.release.set()
            process.kill()
            process.communicate()

    @pytest.mark.usefixtures("environment")
    def test_a_finished_thread_gives_its_answer_again(self, server: FakeOpenAI, text: str) -> None:
        first = stellwerk("run", "Sales and rent?", "--file", text, "--thread", "mine", "--json")
        before = len(server.requests)
        again = stellwerk("resume", "mine", "--json")
        assert (again.exit_code, again.stdout) == (0, first.stdout)
        assert len(server.requests) == before

    @pytest.mark.usefixtures("environment")
    def test_the_next_task_of_a_thread_has_the_documents(self, server: FakeOpenAI, text: str) -> None:
        stellwerk("run", "Sales and rent?", "--file", text, "--thread", "mine")
        result = stellwerk("run", "Once more", "--thread", "mine")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "Sales were 100 dollars and rent 20 dollars.\n"

    @pytest.mark.usefixtures("environment")
    def test_a_thread_that_is_not_there_is_not_said_to_be_resumable(self, text: str) -> None:
        assert stellwerk("run", "x", "-f", text, "--thread", "mine").exit_code == 0
        result = stellwerk("resume", "yours")
        assert result.exit_code == 2
        assert result.stderr.startswith("stellwerk: there is no thread yours in ")

    @pytest.mark.usefixtures("environment")
    def test_the_database_is_private(self, text: str, tmp_path: Path) -> None:
        place = tmp_path / "new" / "runs.sqlite"
        assert stellwerk("run", "x", "-f", text, "--database", str(place)).exit_code == 0
        assert place.stat().st_mode & 0o077 == 0
        assert place.parent.stat().st_mode & 0o077 == 0
        assert [path.name for path in place.parent.iterdir() if "lock" in path.name] == []


def test_version() -> None:
    result = stellwerk("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("stellwerk 0.")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("place", ["user:hunter2@", "?password=hunter2", "user@"])
def test_the_command_to_go_on_can_be_pasted(text: str, place: str, tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        made = make_url(url)
        if place == "user:hunter2@":
            made = made.set(password="hunter2")  # the server asks for none
        elif place == "?password=hunter2":
            made = made.update_query_dict({"password": "hunter2"})
        given = made.render_as_string(hide_password=False)
        result = stellwerk("run", "Sales and rent?", "-f", text, "--thread", "mine", "--database", given)
        assert result.exit_code == 0, result.stderr
        first = result.stderr.splitlines()[0]
        if "hunter2" in place:
            assert "stellwerk resume mine (with STELLWERK_DATABASE_URL set to the URL" in first
            assert "--database" not in first
        else:
            assert f"stellwerk resume mine --database {given})" in first
        assert "hunter2" not in result.stderr
        assert "***" not in result.stderr
