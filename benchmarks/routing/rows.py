"""Rows of the published files, as they lie in the folder that `STELLWERK_DATA` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from benchmarks.data import data_dir
from stellwerk.errors import DocumentError

Row = dict[str, Any]


def read_rows(name: str, source: str) -> list[Row]:
    """The rows of a `.parquet` or `.jsonl` file in the folder `routing`.

    Args:
        name: of the file.
        source: a sentence on where the original is published.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder lacks the file.
    """
    path = data_dir() / "routing" / name
    if not path.is_file():
        raise DocumentError(f"there is no {path}; {source}")
    if path.suffix == ".jsonl":
        return _lines(path)
    rows: list[Row] = parquet.read_table(path).to_pylist()
    return rows


def _lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
