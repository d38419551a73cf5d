"""`stellwerk convert`: what it does, says, and exits with."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.dataset_units import DatasetExample
from stellwerk.persistence.traces import TraceStore
from tests.persistence.traces import NOON

KEY = "0123456789abcdef0123456789abcdef"
ROW: Any = {
    "request": {"model": "gpt-4.1", "messages": [{"role": "user", "content": "How many?"}]},
    "response": {
        "id": "chatcmpl-1",
        "choices": [{"finish_reason": "stop", "message": {"content": "five"}}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
    },
    "call_site": "count",
    "thread_id": "t1",
    "user_id": "ada lovelace",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with settings, and a log to import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORIGIN_KEY", KEY)
    settings = (
        'database = "runs.sqlite"',
        "[conversion]",
        'origin_key_env = "ORIGIN_KEY"',
        'hci = ["chat*"]',
    )
    (tmp_path / "stellwerk.toml").write_text("\n".join(settings))
    rows = [ROW, {**ROW, "call_site": "chatting", "response": {**ROW["response"], "id": "2"}}, "{broken"]
    (tmp_path / "log.jsonl").write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    )
    return tmp_path


def stellwerk(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["convert", *arguments], input=stdin)


def told(*arguments: str) -> Any:
    result = stellwerk(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_log_is_imported_once_and_what_it_cost_is_shown(place: Path) -> None:
    first = stellwerk("collect", "log.jsonl")
    assert first.exit_code == 0
    assert first.stdout.splitlines() == [
        "1 calls are new, 0 were known; 3 rows read",
        "left out: 1 calls talk to a person",
        "left out: 1 rows cannot be read",
        "        1  count",
    ]
    assert first.stderr.strip().startswith("log.jsonl:3: it is not JSON")
    again = told("collect", "log.jsonl")
    assert (again["new"], again["known"], again["hci"], again["bad_rows"][0]["line"]) == (0, 1, 1, 3)
    shown = told("status")
    (site,) = shown["call_sites"]
    assert (site["call_site"], site["tier"], site["calls"], site["usd"], site["unpriced"]) == (
        "count",
        "gpt-4.1",
        1,
        2.0,
        0,
    )
    assert [(step["step"], step["state"]) for step in shown["steps"]] == [("collect", "done")] * 2
    table = stellwerk("status")
    assert "count" in table.stdout
    assert "collect" in table.stdout


def test_options_say_what_the_log_does_not(place: Path) -> None:
    bare = {
        "messages": [*ROW["request"]["messages"], {"role": "assistant", "content": "five"}],
        "info": {"who": "ada"},
    }
    (place / "bare.jsonl").write_text(json.dumps(bare))
    options = ("--call-site", "counting", "--model", "mine", "--program", "shop", "--user-key", "info.who")
    assert told("collect", "bare.jsonl", "--format", "openai", *options)["call_sites"] == {"shop/counting": 1}
    assert told("forget", "--subject", "ada", "--dry-run")["traces"] == 1
    priced = {
        **ROW,
        "request": {**ROW["request"], "model": "our-gpt"},
        "response": {**ROW["response"], "id": "3"},
    }
    (place / "priced.jsonl").write_text(json.dumps(priced))
    told("collect", "priced.jsonl", "--priced-as", "our-gpt=openai/gpt-4o")
    assert {site["tier"]: site["usd"] for site in told("status")["call_sites"]} == {
        "our-gpt": 2.5,
        "mine": 0.0,
    }


def test_what_is_wrong_is_said_in_one_line(place: Path) -> None:
    (place / "odd.json").write_text('{"a": 1}')
    for arguments, said in (
        (("collect", "none.json"), "cannot read none.json"),
        (("collect", "odd.json"), "the format cannot be told"),
        (("collect", "log.jsonl", "--priced-as", "a=b"), "the price list has no 'b'"),
        (("status", "--database", "none.sqlite"), "there is no database"),
    ):
        result = stellwerk(*arguments)
        assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
        assert said in result.stderr


def test_consent_is_kept_and_holds(place: Path) -> None:
    told("collect", "log.jsonl")
    assert stellwerk("consent", "t1").stdout == "t1: unknown\n"
    said = stellwerk("consent", "t1", "denied", "--who", "ada")
    assert said.stdout == "t1: denied (said by ada)\n"
    assert told("retain", "--dry-run") == {"overdue": 1, "deleted": 0, "dry_run": True}
    assert stellwerk("retain", stdin="n\n").exit_code == 1
    assert told("retain", "--yes")["deleted"] == 1
    assert told("collect", "log.jsonl")["denied"] == 1
    assert told("status")["call_sites"] == []
    assert (
        stellwerk("consent", "t1", "granted", "--keep-days", "30").stdout == "t1: granted, kept for 30 days\n"
    )


def test_prune_deletes_what_is_past_its_date_as_well(place: Path) -> None:
    told("collect", "log.jsonl")
    stellwerk("consent", "t1", "denied")
    result = CliRunner().invoke(app, ["db", "prune", "--older-than", "300d", "--yes", "--json"])
    assert json.loads(result.stdout)["deleted_overdue"] == 1
    assert told("status")["call_sites"] == []


def test_a_person_is_forgotten_and_adapters_are_named(place: Path) -> None:
    told("collect", "log.jsonl")
    with TraceStore.from_url("runs.sqlite") as traces:
        (found,) = traces.attempts()
        store = ConversionStore(traces.database)
        store.add_dataset("d", {})
        example = DatasetExample(
            trace_id=found["trace_id"], call_site="count", split="train", content={}, created_at=NOON
        )
        store.add_examples("d", [example])
        store.add_adapter("c@1", base="b", path="p", sha256="ab" * 32, dataset="d", card={})
    dry = stellwerk("forget", "--subject", "ada lovelace", "--dry-run")
    assert dry.stdout.splitlines() == [
        "to delete: 1 traces",
        "to delete: 1 examples of datasets",
        "to be trained again: adapter c@1",
    ]
    assert stellwerk("forget", "--subject", "ada lovelace", stdin="n\n").exit_code == 1
    done = told("forget", "--subject", "ada lovelace", "--yes")
    assert (done["traces"], done["examples"], done["adapters"]) == (1, 1, ["c@1"])
    shown = told("status")
    assert (shown["call_sites"], shown["to_retrain"]) == ([], ["c@1"])
    assert "lovelace" not in json.dumps(shown)
    assert "to be trained again, as somebody was forgotten: c@1" in stellwerk("status").stdout
    nobody = stellwerk("forget", "--yes")
    assert (nobody.exit_code, "nobody is named" in nobody.stderr) == (2, True)


def test_traces_are_found_by_the_id_of_their_thread(place: Path) -> None:
    told("collect", "log.jsonl")
    result = CliRunner().invoke(app, ["traces", "list", "--thread", "t1", "--json"])
    (found,) = json.loads(result.stdout)
    assert "t1" not in found["thread_id"]


def test_a_key_that_cannot_be_read_is_told_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORIGIN_KEY")
    result = stellwerk("collect", "log.jsonl")
    assert (result.exit_code, "ORIGIN_KEY, which is not set" in result.stderr) == (2, True)
    assert not (place / "runs.sqlite").exists()
