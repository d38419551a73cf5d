"""Actions: what a model did with a prompt, as far as it tells jobs apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from stellwerk.conversion.example import Example

_LONGEST = 600  # characters of an answer
_LABEL = 80  # characters of a label
_OFTEN = 5  # examples that a label has
_COVERED = 0.8  # of the examples have a label, where answers are labels


def action_of(example: Example) -> str:
    """The names of tools, or else the answer, as text whose words can be compared."""
    if example.tool_calls:
        return " ".join(f"call:{call.get('name')}" for call in example.tool_calls)[:_LONGEST]
    if example.value is not None:
        return _json(example.value)[:_LONGEST]
    return (example.answer or "")[:_LONGEST]


def labels_of(examples: Sequence[Example]) -> list[str] | None:
    """One label each, where answers are few and come again, as those of a classifier; None where not.

    Rare answers have the label ''.
    """
    found = [_label(example) for example in examples]
    counts = Counter(label for label in found if label)
    frequent = {label for label, times in counts.items() if times >= _OFTEN}
    kept = [label if label in frequent else "" for label in found]
    if len(frequent) < 2 or sum(map(bool, kept)) < _COVERED * len(examples):
        return None
    return kept


def _label(example: Example) -> str:
    if example.tool_calls:
        return ""
    text = _json(example.value) if example.value is not None else (example.answer or "")
    text = " ".join(text.split()).lower()
    return text if len(text) <= _LABEL else ""


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
