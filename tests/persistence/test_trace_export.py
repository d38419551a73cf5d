"""Traces as files."""

import json
import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from stellwerk.errors import InputError, MissingExtraError
from stellwerk.outcome import Verdict
from stellwerk.persistence import trace_export
from stellwerk.persistence.trace_export import Exported, export_chat_jsonl, export_parquet
from stellwerk.persistence.traces import TraceStore
from tests.persistence.traces import CONTEXT, NOON, attempt


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    store = TraceStore.from_url(tmp_path / "traces.sqlite")
    store.attempt(attempt(1))
    store.attempt(attempt(2, verdict=Verdict(accepted=False, reason="schema"), decision=None, value=None))
    store.attempt(attempt(3, answer=None, usd=None))
    return store


def test_parquet(store: TraceStore, tmp_path: Path) -> None:
    path = tmp_path / "traces.parquet"
    assert export_parquet(store, path) == Exported(3, 0)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["subtask"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["propensity"] == 0.9
    assert json.loads(rows[0]["decision"])["estimates"] == {"small": {"accept": 0.8, "usd": 0.001}}
    assert json.loads(rows[0]["prompt"])[1] == {"role": "user", "content": "How many?"}
    assert json.loads(rows[0]["context"]) == CONTEXT
    assert rows[0]["episode"] == attempt(1).episode
    assert [row["accepted"] for row in rows] == [True, False, True]
    assert [row["router"] for row in rows] == ["smallest_first", None, "smallest_first"]
    assert [row["usd"] for row in rows] == [0.002, 0.002, None]
    assert (rows[0]["created_at"] - NOON).total_seconds() == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parquet_of_more_than_a_row_group_and_of_nothing(tmp_path: Path) -> None:
    with TraceStore.from_url(tmp_path / "traces.sqlite") as store:
        for number in range(2_300):
            store.attempt(attempt(number))
        assert export_parquet(store, tmp_path / "all.parquet") == Exported(2_300, 0)
        assert export_parquet(store, tmp_path / "none.parquet", worker="nobody") == Exported(0, 0)
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert [int(number) for number in table["subtask"].to_pylist()] == list(range(2_300))
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").num_rows == 0


def test_chats(store: TraceStore, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    assert export_chat_jsonl(store, path) == Exported(2, 1)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["messages"] == [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "wait"},
        {"role": "assistant", "content": '{"text": "five"}'},
    ]
    assert first["metadata"]["trace_id"] == attempt(1).trace_id
    assert (first["metadata"]["accepted"], second["metadata"]["accepted"]) == (True, False)
    assert second["metadata"]["reason"] == "schema"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert export_chat_jsonl(store, path, accepted=True) == Exported(1, 1)
    assert len(path.read_text().splitlines()) == 1


async def test_the_store_exports_itself(store: TraceStore, tmp_path: Path) -> None:
    for name in ("parquet", "chat_jsonl"):
        here, there, later = tmp_path / f"{name}.1", tmp_path / f"{name}.2", tmp_path / f"{name}.3"
        done = getattr(trace_export, f"export_{name}")(store, here, accepted=True)
        assert getattr(store, f"export_{name}")(there, accepted=True) == done
        assert await getattr(store, f"aexport_{name}")(later, accepted=True) == done
        assert there.read_bytes() == later.read_bytes() == here.read_bytes()


def test_only_full_content_becomes_a_chat(tmp_path: Path) -> None:
    with TraceStore.from_url(tmp_path / "traces.sqlite", content="none") as store:
        store.attempt(attempt())
        assert export_chat_jsonl(store, tmp_path / "traces.jsonl") == Exported(0, 1)
    assert (tmp_path / "traces.jsonl").read_text() == ""


@pytest.mark.parametrize("export", [export_parquet, export_chat_jsonl])
def test_a_file_is_there_whole_or_not_at_all(export: Any, store: TraceStore, tmp_path: Path) -> None:
    path = tmp_path / "traces.out"
    path.write_text("what was there before")

    class Breaks:
        def attempts(self, **_: object) -> Any:
            yield next(store.attempts())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        export(Breaks(), path)
    assert path.read_text() == "what was there before"
    assert {file.name for file in tmp_path.iterdir() if "traces.out" in file.name} == {"traces.out"}
    with pytest.raises(InputError, match=r"cannot write .*nowhere"):
        export(store, tmp_path / "nowhere" / "traces.out")


def test_parquet_needs_its_extra(store: TraceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_export, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stellwerk\[traces\]'"):
        export_parquet(store, tmp_path / "traces.parquet")
