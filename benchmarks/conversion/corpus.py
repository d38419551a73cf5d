"""The data that conversion is measured on, as examples."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import data_dir
from stellwerk.conversion.example import Example
from stellwerk.errors import ConfigurationError

_SOURCES = {
    "banking77_train.csv": "Banking77: https://github.com/PolyAI-LDN/task-specific-datasets (CC BY 4.0)",
    "clinc150_train.json": "CLINC150: https://github.com/clinc/oos-eval (CC BY 3.0)",
    "snips": "SNIPS: https://github.com/sonos/nlu-benchmark (CC0)",
    "tau_bench_airline_gpt4o.json": "τ-bench: https://github.com/sierra-research/tau-bench (MIT)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What was asked, what was answered, and what kind of thing that is."""

    text: str
    answer: Any
    intent: str


def path_of(name: str) -> Path:
    """The file or folder of a name.

    Raises:
        ConfigurationError: it is not there.
    """
    path = data_dir() / "conversion" / name
    if not path.exists():
        raise ConfigurationError(f"{path} is missing; it is published: {_SOURCES[name]}")
    return path


def banking() -> list[Row]:
    """Messages of customers of a bank; the answer is one of 77 intents."""
    with path_of("banking77_train.csv").open(newline="", encoding="utf-8") as file:
        return [Row(row["text"], row["category"], row["category"]) for row in csv.DictReader(file)]


def clinc(part: str) -> list[Row]:
    """Requests; the answer is one of 150 intents. `oos_train` and `oos_val` belong to none."""
    record = json.loads(path_of("clinc150_train.json").read_text(encoding="utf-8"))
    return [Row(text, intent, intent) for text, intent in record[part]]


def snips(part: str = "train") -> list[Row]:
    """Requests; the answer is one of seven intents with its slots."""
    rows = []
    for path in sorted(path_of("snips").glob(f"{part}_*.json")):
        for intent, found in json.loads(path.read_text(encoding="utf-8")).items():
            for record in found:
                text = "".join(piece["text"] for piece in record["data"])
                slots = {piece["entity"]: piece["text"] for piece in record["data"] if "entity" in piece}
                rows.append(Row(text, {"intent": intent, "slots": slots}, intent))
    return rows


def examples(rows: Sequence[Row], call_site: str, *, answered: bool = True, start: int = 0) -> list[Example]:
    """Rows as calls of one call site."""
    return [
        Example(
            trace_id=f"{number:032x}",
            call_site=call_site,
            prompt=[{"role": "user", "content": row.text}],
            answer=None if not answered or not isinstance(row.answer, str) else row.answer,
            value=row.answer if answered and not isinstance(row.answer, str) else None,
        )
        for number, row in enumerate(rows, start)
    ]


def tau_bench() -> tuple[list[Example], list[str]]:
    """Each call of gpt-4o in the airline's trajectories, and the tool that it called next, or `respond`."""
    found: list[Example] = []
    steps: list[str] = []
    runs = json.loads(path_of("tau_bench_airline_gpt4o.json").read_text(encoding="utf-8"))
    for run in runs:
        said = run["traj"]
        for place, message in enumerate(said):
            if message["role"] != "assistant":
                continue
            calls = [call["function"] for call in message.get("tool_calls") or []]
            found.append(
                Example(
                    trace_id=f"{len(found):032x}",
                    call_site="agent",
                    prompt=said[:place],
                    answer=message.get("content"),
                    tool_calls=[
                        {"name": call["name"], "args": json.loads(call["arguments"])} for call in calls
                    ],
                    score=run["reward"],
                )
            )
            steps.append(calls[0]["name"] if calls else "respond")
    return found, steps


def shuffled(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """The rows in random order."""
    drawn = list(rows)
    random.Random(seed).shuffle(drawn)
    return drawn
