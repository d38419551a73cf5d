"""From traces to a router that serves, and back."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
from stellwerk.persistence.traces import TraceStore
from stellwerk.routers.goal import CostBudget
from tests.cli.routed import fill
from tests.fake_openai import FakeOpenAI, serve_openai
from tests.test_docs import ROOT, blocks

TASK = {"subtasks": [{"id": "text", "worker": "write", "instruction": "Say it", "depends_on": []}]}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routed") / "runs.sqlite"
    fill(path, 80, explore=0.5)
    return path


@pytest.fixture(scope="module")
def learned(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a router that was trained on it."""
    path = tmp_path_factory.mktemp("learned") / "runs.sqlite"
    shutil.copyfile(filled, path)
    result = CliRunner().invoke(app, ["router", "train", *TRAIN, "--database", str(path)])
    assert result.exit_code == 0, result.stderr
    return path


TRAIN = ("--tier", "small", "--tier", "large", "--holdback", "0.4", "--usd-per-failure", "0.01")


@pytest.fixture
def database(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "runs.sqlite"
    shutil.copyfile(learned, path)
    monkeypatch.setenv("STELLWERK_DATABASE", str(path))
    return path


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> Any:
    result = stellwerk("router", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def states() -> dict[str, str]:
    return {router["version"]: router["state"] for router in told("list")}


@pytest.mark.usefixtures("database")
def test_a_router_comes_with_its_card() -> None:
    (router,) = told("list")
    card = told("show", router["version"][:8])["card"]
    assert (router["state"], card["goal"]["kind"], card["goal"]["usd"]) == (
        "candidate",
        "usd_per_failure",
        0.01,
    )
    assert card["held_back"] == 160
    assert card["traces"]["labels"] == {"gold": card["traces"]["attempts"]}
    assert set(card["tiers"]) == {"small", "large"}
    assert card["evidence"]["usd"] < card["evidence"]["usd_largest"]
    shown = stellwerk("router", "show").stdout
    for said in (
        router["version"][:12],
        f"{card['traces']['attempts']} gold",
        "0.01 USD a failure",
        "the newest 160 subtasks, to judge it by",
    ):
        assert said in shown
    assert router["version"][:12] in stellwerk("router", "list").stdout


def test_the_same_traces_make_the_same_router(database: Path, tmp_path: Path) -> None:
    before = told("list")[0]["version"]
    file = tmp_path / "router.safetensors"
    again = told("train", *TRAIN, "--output", str(file))
    assert again["version"] == before
    assert file.stat().st_size == again["size"]
    assert told("train", *TRAIN, "--seed", "1")["version"] != before


@pytest.mark.usefixtures("database")
def test_a_floor_that_is_not_proven_says_how_many_labels_are_missing() -> None:
    card = told("train", "--tier", "small", "--tier", "large", "--quality-floor", "0.98")["card"]
    assert not card["evidence"]["met"]
    assert card["policy"]["price"] is None  # everything on the largest tier
    assert "not met" in stellwerk("router", "show").stdout


def test_a_floor_above_the_largest_tier_is_refused_with_the_figure(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    fill(path, 40, explore=1.0, large=0.1)
    arguments = ("--tier", "small", "--tier", "large", "--holdback", "0", "--database", str(path))
    card = told("train", *arguments, "--quality-floor", "0.99")["card"]
    assert card["evidence"] is None or not card["evidence"]["met"]


@pytest.mark.usefixtures("database")
def test_evaluation_is_on_traces_that_came_later() -> None:
    found = told("evaluate")
    assert found["episodes"] == 160
    for method in ("ips", "dr"):
        estimate = found["right"][method]
        assert estimate["low"] > (0.4 if method == "ips" else 0.9)  # smallest first is right in .64
        assert 0.9 < estimate["mean"] < 1.3
    assert 30 < found["effective"] < 160
    shown = stellwerk("router", "evaluate").stdout
    assert "doubly robust" in shown
    assert f"they weigh as {found['effective']:.0f}" in shown


@pytest.mark.usefixtures("database")
def test_a_router_that_is_right_more_often_is_promoted_with_its_evidence() -> None:
    compared = told("compare")
    assert compared["better"]
    assert compared["current"] == "smallest-first"
    assert compared["comparison"]["right"]["low"] > 0
    move = told("promote", "--who", "ada")
    assert (move["kind"], move["who"], move["replaced"]) == ("promote", "ada", None)
    assert move["evidence"]["comparison"] == compared["comparison"]
    assert list(states().values()) == ["active"]
    again = stellwerk("router", "promote", move["version"])
    assert (again.exit_code, "serves already" in again.stderr) == (2, True)
    back = told("rollback", "--why", "to see")
    assert (back["version"], back["replaced"], list(states().values())) == (
        None,
        move["version"],
        ["retired"],
    )
    history = told("list", "--history")
    assert [one["kind"] for one in history] == ["rollback", "promote"]
    shown = stellwerk("router", "list", "--history").stdout
    assert "rollback" in shown
    assert "ada" in shown


def test_a_router_that_is_not_shown_to_be_better_is_refused(database: Path) -> None:
    first = told("promote")["version"]
    second = told("train", *TRAIN, "--seed", "3")["version"]
    result = stellwerk("router", "promote", second)
    assert result.exit_code == 1
    assert f"router {second[:12]} is not promoted" in result.stderr
    assert "--force --why" in result.stderr
    assert states() == {first: "active", second: "candidate"}
    bare = stellwerk("router", "promote", second, "--force")
    assert (bare.exit_code, "--force takes a reason" in bare.stderr) == (2, True)
    forced = told("promote", second, "--force", "--why", "I want it")
    assert (forced["replaced"], forced["evidence"]["forced"], forced["why"]) == (first, True, "I want it")
    assert told("rollback", "--why", "it was no good")["version"] == first
    with SQLAlchemyRouterRegistry.from_url(database) as registry:
        active = registry.in_state("active")
        assert active is not None
        assert active.version == first


def test_explain_tells_what_is_expected_and_why(database: Path) -> None:
    with TraceStore.from_url(database) as store:
        contexts = {one["trace_id"]: one["context"] for one in store.bare_attempts()}
    trace = next(name for name, one in contexts.items() if one and "Explain why" in one["instruction"])
    found = told("explain", trace)
    assert found["context"] == contexts[trace]
    before, *_ = found["steps"]
    assert before["tiers"]["small"]["right"] < 0.6 < before["tiers"]["large"]["right"]
    assert before["would"] == "would try large"
    assert "Explain why" in found["neighbours"][0]["instruction"]
    shown = stellwerk("router", "explain", trace).stdout
    assert "before the first attempt: would try large" in shown
    unknown = stellwerk("router", "explain", "ab" * 16)
    assert (unknown.exit_code, "no attempt has the id" in unknown.stderr) == (2, True)


def test_the_report_shows_the_router_and_says_what_it_cannot_show(database: Path) -> None:
    result = stellwerk("report", "--json")
    assert result.exit_code == 0, result.stderr
    router = json.loads(result.stdout)["router"]
    assert [tier["tier"] for tier in router["tiers"]] == ["small", "large"]
    assert router["tiers"][0]["bins"]
    assert [(one["of"], one["alarm"]) for one in router["drift"]] == [("answers", False), ("subtasks", False)]
    assert bool(router["curve"]) != any("cost against quality" in said for said in router["problems"])


def test_drift_is_calm_until_answers_go_wrong(database: Path) -> None:
    calm = told("drift")
    assert (calm["alarm"], calm["subtasks"]) == (False, 160)
    fill(database, 30, seed=9, explore=0.5, small=0.0, large=0.0, easy=0.0)
    result = stellwerk("router", "drift")
    assert result.exit_code == 3
    assert "ALARM  answers: answers are right" in result.stdout
    assert "calm  subtasks" in result.stdout


def test_without_traces_or_routers_each_command_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    assert stellwerk("db", "upgrade", "--database", str(path)).exit_code == 0
    for command, said in (
        (("train", "--tier", "a"), "there are no traces to learn from"),
        (("evaluate",), "there is no router yet"),
        (("compare",), "there is no router yet"),
        (("promote",), "there is no router yet"),
        (("show",), "there is no router yet"),
        (("drift",), "there is no router yet"),
        (("rollback", "--why", "x"), "no router is active"),
        (("rollback",), "say why"),
        (("explain", "x"), "no attempt has the id 'x'"),
        (("retire", "x", "--why", "x"), "no router of version 'x'"),
    ):
        result = stellwerk("router", *command, "--database", str(path))
        assert (result.exit_code, said in result.stderr) == (2, True), (command, result.stderr)
    never = stellwerk("router", "list", "--history", "--database", str(path))
    assert "no router was put to use yet" in never.stderr
    assert "no routers yet" in stellwerk("router", "list", "--database", str(path)).stderr
    missing = stellwerk("router", "list", "--database", str(tmp_path / "nothing.sqlite"))
    assert "there is no database" in missing.stderr


def test_options_that_make_no_sense_are_refused(database: Path) -> None:
    for arguments, said in (
        (("--quality-floor", "0.9", "--usd-per-failure", "1"), "one goal at a time"),
        (("--quality-floor", "1.5"), "--quality-floor: floor of a quality floor is 1.5"),
        (("--usd-per-failure", "-1"), "--usd-per-failure: a failure costs 0 USD or more, not -1.0"),
        (("--holdback", "1"), "--holdback is 1.0"),
        (("--tier", "huge"), "there are traces of large, small: name all tiers"),
    ):
        tier = () if "--tier" in arguments else ("--tier", "small", "--tier", "large")
        result = stellwerk("router", "train", *tier, *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_promotion_says_what_settings_it_takes_and_evaluation_shows_shares(database: Path) -> None:
    shown = stellwerk("router", "evaluate")
    uppers = [
        float(line.split(" to ")[1].split(")")[0]) for line in shown.stdout.splitlines() if " to " in line
    ]
    assert len(uppers) == 3
    assert max(uppers) <= 1
    said = stellwerk("router", "promote", "--force", "--why", "test").stderr
    assert 'under [router]: name = "learned", usd_per_failure = 0.01' in said


def test_routers_of_different_tiers_are_not_compared_where_that_matters(database: Path) -> None:
    one = told("train", "--tier", "small", "--holdback", "0.4", "--usd-per-failure", "0.01")["version"]
    two = next(version for version in states() if version != one)
    result = stellwerk("router", "compare", one, "--with", two)
    assert result.exit_code == 2
    assert f"the router {one[:12]} knows small, and subtasks were tried on large" in result.stderr


def test_the_way_that_the_documentation_shows(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From traces to a router that serves, and back, command by command."""
    monkeypatch.setenv("STELLWERK_MODELS", '["small", "large"]')  # for the names of the tiers
    monkeypatch.setenv("STELLWERK_ROUTER", '{"name": "learned", "usd_per_failure": 0.01}')
    fill(database, 70, seed=5, explore=0.5)
    block = next(block for block in blocks(ROOT / "docs" / "routing.md", "sh") if "router train" in block)
    for line in block.splitlines():
        result = stellwerk(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.stderr}"
    assert "retired" in states().values()
    assert [move["kind"] for move in told("list", "--history")] == ["rollback", "promote", "shadow"]


# In runs


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with serve_openai(lambda body: {"text": "Sales went well."}) as server:
        yield server


@pytest.fixture
def tiers(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [
        server.tier("small", input_price=1, output_price=2),
        server.tier("large", input_price=10, output_price=20),
    ]
    monkeypatch.setenv("STELLWERK_TIERS", json.dumps(named))


def run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: dict[str, Any]) -> Any:
    monkeypatch.setenv("STELLWERK_ROUTER", json.dumps(router))
    (tmp_path / "plan.json").write_text(json.dumps(TASK))
    result = stellwerk("run", "Sales?", "--plan", str(tmp_path / "plan.json"))
    assert result.exit_code == 0, result.stderr
    (newest,) = json.loads(stellwerk("traces", "list", "-n", "1", "--json").stdout)
    return newest["decision"]


@pytest.mark.usefixtures("database", "tiers")
def test_runs_ask_the_router_that_was_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"name": "learned", "usd_per_failure": 0.01}
    assert run_once(tmp_path, monkeypatch, settings)["router"] == "smallest-first"
    assert "no router is promoted yet, so the smallest tier goes first" in caplog.text
    version = told("promote")["version"]
    decision = run_once(tmp_path, monkeypatch, settings)
    assert (decision["router"], decision["version"]) == ("learned", version[:12])
    assert decision["estimates"].keys() == {"small", "large"}
    assert told("rollback", "--why", "to see")["version"] is None
    assert run_once(tmp_path, monkeypatch, settings)["router"] == "smallest-first"


@pytest.mark.usefixtures("tiers")
def test_a_policy_is_worked_out_once_for_each_goal(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def goals() -> list[dict[str, Any]]:
        return [one["goal"] for one in told("show", told("list")[0]["version"])["card"]["solutions"]]

    told("promote")
    assert [one["kind"] for one in goals()] == ["usd_per_failure"]
    run_once(tmp_path, monkeypatch, {"name": "learned", "usd_per_subtask": 0.0002})
    assert [one["kind"] for one in goals()] == ["usd_per_failure", "usd_per_subtask"]
    monkeypatch.setattr(CostBudget, "solve", None)
    run_once(tmp_path, monkeypatch, {"name": "learned", "usd_per_subtask": 0.0002})
    assert len(goals()) == 2


@pytest.mark.usefixtures("database", "tiers")
def test_a_router_in_the_shadow_decides_beside_the_one_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"shadow": True, "usd_per_failure": 0.01}
    assert "shadow" not in run_once(tmp_path, monkeypatch, settings)
    version = told("shadow")["version"]
    decision = run_once(tmp_path, monkeypatch, settings)
    assert (decision["router"], decision["shadow"]["router"]) == ("smallest-first", "learned")
    assert decision["shadow"]["version"] == version[:12]


@pytest.mark.usefixtures("database", "tiers")
def test_the_smallest_tier_first_can_explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_once(tmp_path, monkeypatch, {"explore": 1.0})
    both = json.loads(stellwerk("traces", "list", "-n", "2", "--json").stdout)
    assert {attempt["tier"] for attempt in both} == {"small", "large"}
    assert {attempt["decision"]["router"] for attempt in both} == {"smallest-first"}
    assert sorted(attempt["decision"]["propensity"] for attempt in both) == [0.5, 1.0]
