import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stellwerk.cli.render import plain
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.urls import parse_url
from tests.cli.test_run import Held, answer, environment, plan, server, stellwerk, text
from tests.fake_openai import Body, FakeOpenAI, RefusalError, job_of
from tests.persistence.conftest import database
from tests.persistence.leases import expire

__all__ = ["environment", "plan", "server", "text"]  # fixtures


@contextmanager
def running(
    server: FakeOpenAI, environment: dict[str, str], text: str
) -> Iterator[tuple["subprocess.Popen[str]", Held]]:
    """A process that runs thread `mine` and waits for an answer."""
    held = Held("What was rent?")
    server.answer = held
    command = [
        sys.executable,
        "-m",
        "stellwerk.cli",
        "run",
        "Sales and rent?",
        "-f",
        text,
        "--thread",
        "mine",
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert held.reached.wait(30)
            yield process, held
        finally:
            held.release.set()
            server.answer = answer
            process.kill()


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = stellwerk("runs", "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    runs: list[dict[str, Any]] = json.loads(result.stdout)
    return runs


def test_a_database_that_a_file_names_is_named_in_errors(
    text: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stellwerk("run", "Sales and rent?", "-f", text, "--thread", "mine").exit_code == 0
    place = Path(environment["STELLWERK_DATABASE"])
    monkeypatch.delenv("STELLWERK_DATABASE")
    secret = tmp_path / "database_url"
    secret.write_text(f"sqlite:///{place}")
    settings = tmp_path / "named.toml"
    settings.write_text(f'database_url_file = "{secret}"')
    result = stellwerk("--config", str(settings), "runs", "show", "nobody")
    assert result.exit_code == 2
    assert f"there is no run or thread nobody in sqlite+pysqlite:///{place}" in result.stderr


class TestCancel:
    def test_the_run_ends_and_can_be_resumed(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        with running(server, environment, text) as (process, _):
            assert [(run["thread_id"], run["status"]) for run in listed("--status", "running")] == [
                ("mine", "running")
            ]
            result = stellwerk("runs", "cancel", "mine")
            assert result.exit_code == 0, result.stderr
            assert f":{process.pid} to end run " in result.stdout
            shown = stellwerk("runs", "show", "mine")
            assert "asked to end" in shown.stdout or "cancelled" in shown.stdout
            stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (3, "")
        assert "cancelled; what is done is kept. To go on: stellwerk resume mine\n" in stderr
        assert "Traceback" not in stderr
        assert [run["status"] for run in listed()] == ["cancelled"]
        before = len(server.requests)
        result = stellwerk("resume", "mine")
        assert result.stdout == "Sales were 100 dollars and rent 20 dollars.\n"
        assert [job_of(body) for body in server.requests[before:]] == ["What was rent?", "Say both"]
        assert [(run["status"], run["task"]) for run in listed()] == [
            ("done", "Sales and rent?"),
            ("cancelled", "Sales and rent?"),
        ]

    def test_after_a_signal_the_run_is_interrupted_and_its_thread_free(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        with running(server, environment, text) as (process, _):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        assert [run["status"] for run in listed()] == ["interrupted"]
        result = stellwerk("runs", "cancel", "mine")
        assert "is not running any more: it is interrupted; to go on: stellwerk resume mine" in result.stderr
        assert stellwerk("resume", "mine").exit_code == 0

    @pytest.mark.usefixtures("environment")
    def test_nobody_is_running_it(self, text: str) -> None:
        assert stellwerk("run", "Sales and rent?", "-f", text, "--thread", "mine").exit_code == 0
        result = stellwerk("runs", "cancel", "mine")
        assert result.exit_code == 1
        assert "of thread mine is not running any more: it is done" in result.stderr

    def test_a_process_that_was_killed_is_not_running_any_more(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        with running(server, environment, text) as (process, _):
            process.kill()
            process.communicate()
        with RunStore.from_url(parse_url(environment["STELLWERK_DATABASE"])) as store:
            expire(store.database, "mine")
        result = stellwerk("runs", "cancel", "mine")
        assert result.exit_code == 1
        assert "is not running any more: it is interrupted; to go on: stellwerk resume mine" in result.stderr
        assert stellwerk("resume", "mine").exit_code == 0

    def test_a_run_whose_thread_is_taken_over_says_so(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        with running(server, environment, text) as (process, held):
            with RunStore.from_url(parse_url(environment["STELLWERK_DATABASE"])) as store:
                expire(store.database, "mine")
                store.claim("mine", task="taken over")
            held.release.set()
            stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (1, "")
        assert "stellwerk: thread 'mine' was taken over" in stderr or "without being renewed" in stderr
        assert "Traceback" not in stderr


class TestList:
    def test_what_ran_and_how_it_ended(
        self, server: FakeOpenAI, environment: dict[str, str], text: str
    ) -> None:
        assert stellwerk("run", "Sales and rent?", "-f", text, "--thread", "good").exit_code == 0

        def never(body: Body) -> object:
            if job_of(body) == "What was rent?":
                raise RefusalError(400, "no such thing")
            return answer(body)

        server.answer = never
        assert stellwerk("run", "[bold]Once[/nope] \x1b[2Jmore", "-f", text, "--thread", "bad").exit_code == 1
        runs = listed()
        assert [(run["thread_id"], run["status"]) for run in runs] == [("bad", "failed"), ("good", "done")]
        assert runs[0]["error"] == "1 of 3 subtasks done; missing: rent, text"
        assert runs[1]["totals"]["calls"] == 4
        assert [run["thread_id"] for run in listed("--status", "done")] == ["good"]
        assert [run["thread_id"] for run in listed("--limit", "1")] == ["bad"]
        lines = stellwerk("runs", "list").stdout.splitlines()
        assert lines[1].split() == ["run", "thread", "status", "started", "took", "task"]
        assert any("bad" in line and "failed" in line and "[bold]Once[/nope] more" in line for line in lines)
        assert max(map(len, lines)) <= 80
        shown = plain(stellwerk("runs", "show", "bad").stdout)
        assert "1 of 3 subtasks done; missing: rent, text" in shown
        assert "[bold]Once[/nope] more" in shown
        assert json.loads(stellwerk("runs", "show", runs[1]["run_id"][:8], "--json").stdout) == runs[1]

    @pytest.mark.usefixtures("environment")
    def test_looking_makes_no_database(self, tmp_path: Path) -> None:
        place = tmp_path / "runs.sqlite"
        for given in ((), ("--database", str(place)), ("--database", f"sqlite:///{place}")):
            for command in (["list"], ["show", "nobody"], ["cancel", "nobody"]):
                result = stellwerk("runs", *command, *given)
                assert (result.exit_code, result.stdout) == (2, "")
                assert f"there is no database {place}; give another with --database" in result.stderr
        assert not place.exists()

    @pytest.mark.usefixtures("environment")
    def test_a_refused_start_leaves_no_run(self, server: FakeOpenAI, text: str) -> None:
        assert stellwerk("run", "Sales and rent?", "-f", text, "--thread", "mine").exit_code == 0
        assert stellwerk("resume", "mine").exit_code == 0
        assert stellwerk("resume", "nobody").exit_code == 2
        assert len(listed()) == 1

    def test_long_names_leave_room_for_the_task(self, tmp_path: Path) -> None:
        with database("sqlite", tmp_path) as url, RunStore.from_url(url) as store:
            store.claim("customer/4711/" + "x" * 80, task="Summarise the annual report of the year 2020")
            lines = stellwerk("runs", "list", "--database", url).stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert any("customer/" in line and "Summarise" in line for line in lines)

    def test_a_status_that_there_is_not(self, tmp_path: Path) -> None:
        with database("sqlite", tmp_path) as url, RunStore.from_url(url) as store:
            store.setup()
            result = stellwerk("runs", "list", "--status", "over", "--database", url)
        assert result.exit_code == 2
        assert "there is no status 'over' of runs; use running, done," in result.stderr

    @pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mariadb"])
    def test_on_any_database(self, tmp_path: Path, backend: str) -> None:
        with database(backend, tmp_path) as url, RunStore.from_url(url) as store:
            lease = store.claim("mine", task="Sum up")
            assert stellwerk("runs", "cancel", lease.run_id, "--database", url).exit_code == 0
            assert store.renew(lease).cancel_requested
            assert [run["task"] for run in listed("--database", url)] == ["Sum up"]


@pytest.mark.usefixtures("environment")
def test_the_files_beside_the_database_are_private(server: FakeOpenAI, text: str, tmp_path: Path) -> None:
    place = tmp_path / "new" / "runs.sqlite"
    modes: dict[str, int] = {}
    looked = threading.Event()

    def look(body: Body) -> object:
        modes.update({path.name: path.stat().st_mode & 0o077 for path in place.parent.iterdir()})
        looked.set()
        return answer(body)

    server.answer = look
    assert stellwerk("run", "x", "-f", text, "--database", str(place)).exit_code == 0
    assert looked.is_set()
    assert "runs.sqlite-wal" in modes
    assert set(modes.values()) == {0}
