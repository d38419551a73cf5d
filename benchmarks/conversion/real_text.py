"""What redaction does to real text: mails' questions, pages of annual reports, traces of an agent.

`STELLWERK_DATA` names the folder. The first two have next to nobody in them, so that nearly all that is found
is a false alarm. The agent's traces have made-up customers, whose profiles say what is to be gone.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.redactor import Redactor

BANKING77 = "conversion/banking77_train.csv"  # PolyAI, CC BY 4.0
TATQA = "tasks/tatqa_dev.json"  # NExT++, MIT
TAU_BENCH = "conversion/tau_bench_airline_gpt4o.json"  # Sierra, MIT

# Keys of the profiles that say what identifies a customer.
_IDENTIFYING = ("first_name", "last_name", "email", "dob", "address1", "zip")


@dataclass(frozen=True)
class Alarms:
    """What was found in texts, of how many characters."""

    arm: str
    source: str
    texts: int
    characters: int
    changed: int
    found: dict[str, int]
    examples: list[str]


@dataclass(frozen=True)
class Leaks:
    """Values of customers' profiles that stand in an agent's traces, and how many still do when redacted."""

    arm: str
    key: str
    values: int
    left: int


def banking77(folder: Path) -> list[dict[str, str]]:
    """Rows with `text` and `category`."""
    with (folder / BANKING77).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tatqa(folder: Path) -> list[str]:
    """Paragraphs and tables of annual reports."""
    pages = json.loads((folder / TATQA).read_text(encoding="utf-8"))
    return [
        text
        for page in pages
        for text in (
            *(paragraph["text"] for paragraph in page["paragraphs"]),
            "\n".join(" | ".join(row) for row in page["table"]["table"]),
        )
    ]


def redacted_row(row: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """A row of Banking77 as a worker would see it after redaction."""
    return {**row, "text": redactor.redact_text(row["text"])}


def alarms(arm: str, source: str, texts: Sequence[str], redactor: Redactor) -> Alarms:
    """What is found in texts that have nobody in them."""
    found: Counter[str] = Counter()
    examples: list[str] = []
    changed = 0
    for text in texts:
        spans = redactor.spans(text)
        changed += bool(spans)
        found.update(span.kind for span in spans)
        examples += [f"{span.kind}: {text[span.start : span.end]}" for span in spans]
    characters = sum(map(len, texts))
    return Alarms(arm, source, len(texts), characters, changed, dict(sorted(found.items())), examples[:40])


def leaks(arm: str, folder: Path, redactor: Redactor) -> tuple[list[Leaks], Alarms]:
    """What stands of a trace's customers in it before and after, and what is redacted that no profile has.

    Ids that are made of a name, such as `mia_li_3668`, are not asked for.
    """
    traces = json.loads((folder / TAU_BENCH).read_text(encoding="utf-8"))
    values: Counter[str] = Counter()
    left: Counter[str] = Counter()
    others: Counter[str] = Counter()
    examples: dict[str, None] = {}
    changed = 0
    for number, trace in enumerate(traces):
        example = Example(trace_id=f"{number:032x}", call_site="agent", prompt=trace["traj"], answer=None)
        identifying = {
            (key, value)
            for message in trace["traj"]
            if message["role"] == "tool"
            for key, value in _profile(_parsed(message.get("content")))
        }
        redacted = redactor.redact(example)
        changed += bool(redacted.found)
        after = json.dumps(redacted.example.prompt, ensure_ascii=False)
        known = " ".join(value for _, value in identifying)
        for placeholder, value in redacted.placeholders.values.items():
            if any(word not in known for word in value.split()):
                kind = placeholder[1:].rpartition("_")[0]
                others[kind] += 1
                examples[f"{kind}: {value}"] = None
        for key, value in identifying:
            values[key] += 1
            left[key] += re.search(rf"(?<![\w\-]){re.escape(value)}(?![\w\-])", after) is not None
    characters = sum(len(json.dumps(trace["traj"], ensure_ascii=False)) for trace in traces)
    found = dict(sorted(others.items()))
    beside = Alarms(
        arm, "tau-bench, in no profile", len(traces), characters, changed, found, list(examples)[:40]
    )
    return [Leaks(arm, key, values[key], left[key]) for key in _IDENTIFYING if values[key]], beside


def _parsed(content: object) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else None
    except ValueError:
        return None


def _profile(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _IDENTIFYING and isinstance(each, str) and each:
                yield key, each
            else:
                yield from _profile(each)
    elif isinstance(value, list):
        for each in value:
            yield from _profile(each)
