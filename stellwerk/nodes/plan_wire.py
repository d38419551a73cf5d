"""The form in which a planner writes a plan, and how it is read.

A subtask is `{"n": 3, "w": "write", "i": "#3", "d": [1, 2]}`: its number, the worker, the instruction, and
the numbers of those whose results it works on, left out where it works on none. A small planner that wrote no
number lost its place. Plans in full, as a caller gives them, are read as well: not every server holds a
planner to the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from stellwerk.errors import PlanError
from stellwerk.nodes.lines import are_requests
from stellwerk.plan import Subtask
from stellwerk.worker import Schema

# What a question says that is about the results of others. Without such a word the documents answer it, and a
# small planner's dependencies would only make it wait, and fail with them.
_OF_RESULTS = re.compile(
    r"\b(?:above|results?|answers?|findings?|these|those|them|they|it|its|this|two|both|previous|earlier|#\d+)\b",
    re.IGNORECASE,
)
_MOST_LINES = 50  # in a pattern; beyond it any number may be written, and one without a line stays as it is
_REFERENCE = re.compile(r"#(\d{1,6})(?!\d)")


def plan_schema(workers: Collection[str], max_subtasks: int, lines: Sequence[str] = ("",)) -> Schema:
    """JSON schema of a plan over these workers.

    Where the task has several lines, an instruction begins with the lines that it is about. A small planner
    left free to write its own put 'the revenue' where a line asked for the profit.
    """
    instruction = ".+"
    least, count = 1, len(lines)
    if count > 1:
        line = "|".join(map(str, range(count, 0, -1))) if count <= _MOST_LINES else "[1-9][0-9]*"
        if are_requests(lines):
            least, max_subtasks = min(count, max_subtasks), min(2 * count, max_subtasks)
        instruction = f"#({line})( #({line}))*(: .{{1,300}})?"
    return _schema(workers, instruction, least, max_subtasks)


def rest_schema(workers: Collection[str], max_subtasks: int) -> Schema:
    """JSON schema of the new subtasks of a plan; there may be none."""
    return _schema(workers, ".+", 0, max_subtasks)


def _schema(workers: Collection[str], instruction: str, least: int, most: int) -> Schema:
    number = {"type": "integer", "minimum": 1, "maximum": 9999}
    subtask = {
        "type": "object",
        "properties": {
            "n": number,
            "w": {"type": "string", "enum": list(workers)},
            "i": {"type": "string", "minLength": 1, "pattern": f"^{instruction}$"},
            "d": {"type": "array", "items": number, "minItems": 1},
        },
        "required": ["n", "w", "i"],
        "additionalProperties": False,
    }
    return {
        "title": "plan",
        "type": "object",
        "properties": {"subtasks": {"type": "array", "items": subtask, "minItems": least, "maxItems": most}},
        "required": ["subtasks"],
        "additionalProperties": False,
    }


def written(subtasks: Iterable[Subtask], numbers: Mapping[str, int]) -> str:
    """A plan as a planner writes it; `numbers` are those of the subtasks, by id."""
    return json.dumps({"subtasks": [_short(each, numbers) for each in subtasks]}, ensure_ascii=False)


def _short(subtask: Subtask, numbers: Mapping[str, int]) -> dict[str, Any]:
    short = {"n": numbers[subtask.id], "w": subtask.worker, "i": subtask.instruction}
    return short | ({"d": [numbers[name] for name in subtask.depends_on]} if subtask.depends_on else {})


def read_plan(text: str, lines: Sequence[str], known: Sequence[str] = ()) -> Any:
    """What a planner wrote, in the form in which callers give a plan, with `#2` replaced by line 2.

    Args:
        text: of the planner.
        lines: of the task.
        known: the ids of subtasks that there are already, which have the numbers from 1 on.

    Raises:
        PlanError: if it is not JSON, or a subtask cannot be read.
    """
    try:
        draft = json.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError also for a number of 4,300 digits
        raise PlanError(f"the plan is not JSON: {error}") from error
    subtasks = draft.get("subtasks") if isinstance(draft, dict) else draft
    if not isinstance(subtasks, list):
        return draft
    names = _names(subtasks, known)
    new = list(names.values())[len(known) :]
    rows = [_row(item, name, names) for item, name in zip(subtasks, new, strict=True)]
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("instruction"), str):
            row["instruction"] = instruction = _with_lines(row["instruction"], lines)
            if instruction in lines and instruction.endswith("?") and not _OF_RESULTS.search(instruction):
                row["depends_on"] = []
    return {"subtasks": rows}


def lines_in(text: str) -> set[int]:
    """The numbers of the lines that a plan points at."""
    return {int(number) for number in _REFERENCE.findall(text)}


def _names(subtasks: Sequence[object], known: Sequence[str]) -> dict[int, str]:
    """The id of each number: of those known, then of those written, which a model may have miscounted."""
    own = [each.get("n") if isinstance(each, dict) else None for each in subtasks]
    numbers = [number for number in own if isinstance(number, int) and number > len(known)]
    if len(set(numbers)) < len(subtasks):
        numbers = list(range(len(known) + 1, len(known) + len(subtasks) + 1))
    prefix = "s"
    while any(f"{prefix}{number}" in known for number in numbers):
        prefix += "n"
    return {**dict(enumerate(known, 1)), **{number: f"{prefix}{number}" for number in numbers}}


def _row(item: object, name: str, names: Mapping[int, str]) -> object:
    if not isinstance(item, dict) or "w" not in item:
        return item
    needed = item.get("d") or []
    if isinstance(needed, list):
        needed = list(dict.fromkeys(_name(number, names) for number in needed))
    return {"id": name, "worker": item["w"], "instruction": item.get("i"), "depends_on": needed}


def _name(number: object, names: Mapping[int, str]) -> str:
    return names.get(number, f"s{number}") if isinstance(number, int) else str(number)


def _with_lines(instruction: str, lines: Sequence[str]) -> str:
    def line(match: re.Match[str]) -> str:
        number = int(match[1])
        return lines[number - 1] if 1 <= number <= len(lines) else match[0]

    return _REFERENCE.sub(line, instruction)
