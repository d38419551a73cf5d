"""Traces as files: Parquet for analysis, chat JSONL for training."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

from typing_extensions import Unpack

from stellwerk.errors import InputError, MissingExtraError
from stellwerk.persistence.traces import AttemptFilter, TraceStore
from stellwerk.trace import StoredAttempt

_ROWS = 1_000  # in a row group; what is in memory at once
_JSON = ("decision", "checks", "prompt", "value", "tools", "calls", "logprobs", "context")
_FLAT = (
    ("trace_id", "string"),
    ("run_id", "string"),
    ("thread_id", "string"),
    ("subtask", "string"),
    ("worker", "string"),
    ("worker_version", "string"),
    ("tier", "string"),
    ("model", "string"),
    ("number", "int32"),
    ("router", "string"),
    ("router_version", "string"),
    ("propensity", "float64"),
    ("decision", "string"),
    ("accepted", "bool_"),
    ("reason", "string"),
    ("detail", "string"),
    ("checks", "string"),
    ("content", "string"),
    ("prompt", "string"),
    ("answer", "string"),
    ("prompt_hash", "string"),
    ("answer_hash", "string"),
    ("value", "string"),
    ("value_hash", "string"),
    ("tools", "string"),
    ("calls", "string"),
    ("input", "int64"),
    ("cached", "int64"),
    ("output", "int64"),
    ("usd", "float64"),
    ("seconds", "float64"),
    ("logprobs", "string"),
    ("context", "string"),
    ("episode", "string"),
)


@dataclass(frozen=True, slots=True)
class Exported:
    """How many attempts are in the file, and how many were left out for want of prompt or answer."""

    written: int
    left_out: int


def export_parquet(
    store: TraceStore, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]
) -> Exported:
    """Write attempts to a Parquet file, oldest first; what is no plain value is there as JSON.

    The file is there whole or not at all, and only its owner can read it.

    Args:
        store: to read from.
        path: of the file; one that is there is replaced.
        **only: which attempts; see `AttemptFilter`.

    Raises:
        MissingExtraError: if pyarrow is not installed.
        InputError: if the file cannot be written.
        DatabaseError: if the database fails.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "traces")
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    fields = [(name, getattr(arrow, kind)()) for name, kind in _FLAT]
    schema = arrow.schema([*fields, ("created_at", arrow.timestamp("us", tz="UTC"))])
    rows = store.attempts(newest_first=False, **only)
    written = 0
    with _whole(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := [_flat(row) for row in islice(rows, _ROWS)]:
            writer.write_table(arrow.Table.from_pylist(batch, schema))
            written += len(batch)
    return Exported(written, 0)


def export_chat_jsonl(
    store: TraceStore, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]
) -> Exported:
    """Write attempts as chats, one JSON object a line: `messages` as in the OpenAI chat API, and `metadata`.

    The last message is the model's answer. Rejected attempts are there as well, unless `accepted=True`.
    Those without prompt or answer are left out: of a model that gave none, written while `content` was not
    `full`, or restored from a checkpoint after a process was killed. As for `export_parquet` otherwise.

    Raises:
        InputError: if the file cannot be written.
        DatabaseError: if the database fails.
    """
    written = left_out = 0
    with _whole(path) as file:
        for row in store.attempts(newest_first=False, **only):
            if row["prompt"] is None or row["answer"] is None:
                left_out += 1
                continue
            line = json.dumps(_chat(row), ensure_ascii=False).encode("utf-8", "replace")
            file.write(line + b"\n")
            written += 1
    return Exported(written, left_out)


def _chat(row: StoredAttempt) -> dict[str, Any]:
    names = ("trace_id", "run_id", "thread_id", "subtask", "worker", "worker_version", "tier", "model")
    metadata: dict[str, Any] = {name: row[name] for name in names}  # type: ignore[literal-required]
    metadata |= {"accepted": row["accepted"], "reason": row["reason"], "value": row["value"]}
    metadata["created_at"] = row["created_at"].isoformat()
    answer = {"role": "assistant", "content": row["answer"]}
    return {"messages": [*(row["prompt"] or ()), answer], "metadata": metadata}


def _flat(row: StoredAttempt) -> dict[str, Any]:
    flat: dict[str, Any] = dict(row)
    decision = row["decision"]
    flat["router"] = decision["router"] if decision else None
    flat["router_version"] = decision["version"] if decision else None
    flat["propensity"] = decision["propensity"] if decision else None
    for name in _JSON:
        flat[name] = None if flat[name] is None else json.dumps(flat[name], ensure_ascii=False)
    return flat


@contextmanager
def _whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file that takes its name once it is complete."""
    target = Path(path)
    if not target.name:
        raise InputError(f"{os.fspath(path)!r} is no name of a file; give one to write to")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; choose another file") from error
    finally:
        with suppress(OSError):
            draft.unlink()
