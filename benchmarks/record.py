"""How a benchmark ends: its table is printed, and every timing kept in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any


def conclude(table: str, versions: str, timings: Sequence[Any], file: Path | None) -> None:
    """Print the table and the versions; keep them in the file, if any, with the timings (dataclasses)."""
    print(f"{table}\n\n{versions}")
    if file:
        record = {"versions": versions, "timings": [asdict(timing) for timing in timings]}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
