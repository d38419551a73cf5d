"""The rows that the rails are measured on, and which of them they were developed on.

Prompts, checks and rails were written looking at `DEVELOPED` only; of the simple calls, all but `shares` on
rows 0 to 99. What is reported as unseen comes from `REPORTED`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import data_dir
from benchmarks.tatqa.pages import Page, Question, load_pages
from stellwerk.errors import DocumentError

SOURCE = "BFCL v4 is in the bfcl-eval package (https://github.com/ShishirPatil/gorilla, Apache-2.0)"
FILES = {"simple": "simple_python", "multiple": "multiple"}
DEVELOPED = {"simple": range(160), "multiple": range(50), "tatqa": range(100, 278)}
REPORTED = {"simple": range(160, 400), "multiple": range(50, 200), "tatqa": range(40)}
TASKS = tuple(REPORTED)
_JSON_TYPES = {"float": "number", "dict": "object", "tuple": "array", "any": "string"}


@dataclass(frozen=True)
class Case:
    """One row: a request with functions to choose from, or a question about a page."""

    task: str
    row: int
    request: str
    functions: tuple[dict[str, Any], ...] = ()
    truth: Mapping[str, Any] | None = None
    page: Page | None = None
    question: Question | None = None

    @property
    def key(self) -> str:
        """Its name among the rows of its task."""
        return f"{self.row}/{self.question.uid}" if self.question else str(self.row)


def load_cases(task: str, rows: range) -> list[Case]:
    """The cases of some rows; of TAT-QA, the spans that `extract` is for.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder lacks a file.
    """
    if task == "tatqa":
        pages = [page for page in load_pages() if page.index in rows]
        return [
            Case(task, page.index, question.text, page=page, question=question)
            for page in pages
            for question in page.questions
            if question.answer_type in ("span", "multi-span")
        ]
    folder = data_dir() / "tasks" / "bfcl"
    name = f"{FILES[task]}.jsonl"
    asked, answers = _lines(folder / name), _lines(folder / "possible_answer" / name)
    truths = {answer["id"]: answer["ground_truth"][0] for answer in answers}
    return [
        Case(
            task,
            row,
            asked[row]["question"][0][0]["content"],
            functions=tuple(asked[row]["function"]),
            truth=truths[asked[row]["id"]],
        )
        for row in rows
        if row < len(asked)
    ]


def as_json_schema(function: Mapping[str, Any]) -> dict[str, Any]:
    """A function as BFCL publishes it, with the types of JSON schema in place of Python's."""
    return {**function, "parameters": _translated(function["parameters"])}


def _translated(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_translated(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            found[key] = _JSON_TYPES.get(value, value)
        elif key == "properties":
            found[key] = {name: _translated(part) for name, part in value.items()}
        elif key == "items":
            found[key] = _translated(value)
        elif key == "optional":
            continue  # BFCL's own mark, which `required` says already
        else:
            found[key] = value
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DocumentError(f"{path} does not exist. {SOURCE}.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
