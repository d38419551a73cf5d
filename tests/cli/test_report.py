import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from tests.report.pages import Page
from tests.report.runs import fill


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reported") / "runs.sqlite"
    fill(path, 6)
    return path


@pytest.fixture(autouse=True)
def _database(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_DATABASE", str(filled))


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def told(*arguments: str) -> Any:
    result = stellwerk(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_summary_is_shown_without_options() -> None:
    result = stellwerk()
    assert result.exit_code == 0, result.stderr
    assert "on the large tier alone, in 6 runs (an estimate)" in result.stdout
    assert "look_up" in result.stdout


def test_the_page_is_one_file_with_the_plans_of_the_newest_runs(tmp_path: Path) -> None:
    result = stellwerk("--html", str(tmp_path / "report.html"), "--plans", "2")
    assert result.exit_code == 0, result.stderr
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    page.check(scripts=False)
    assert len([svg for svg in page.all("svg") if svg.get("class") == "plan"]) == 2


def test_one_run_is_named_by_its_thread_or_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    run = told()["runs"][0]
    by_thread, by_run = told("--thread", run["thread_id"]), told("--run", run["run_id"][:8])
    assert by_thread == by_run
    assert by_thread["run"] == run
    shown = stellwerk("--run", run["run_id"])
    assert all(one["id"] in shown.stdout for one in by_run["subtasks"])
    assert stellwerk("--run", run["run_id"], "--html", str(tmp_path / "run.html")).exit_code == 0
    assert run["run_id"] in Page((tmp_path / "run.html").read_text(encoding="utf-8")).text


def test_contents_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for option in ((), ("--contents",)):
        assert stellwerk("--html", str(path), *option).exit_code == 0
        assert (" of case " in path.read_text(encoding="utf-8")) is bool(option)


def test_a_time_limits_it() -> None:
    assert told("--since", "2999-01-01")["runs"] == []
    assert told("--until", "2000-01-01")["totals"]["outcomes"] == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "nobody"), "there are no traces of run nobody"),
        (("--run", "0"), "several runs have an id like '0'"),
        (("--html", "/nowhere/report.html"), "/nowhere/report.html cannot be written"),
        (("--database", "/nowhere/runs.sqlite"), "there is no database /nowhere/runs.sqlite"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], said: str) -> None:
    result = stellwerk(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
