"""Classify: one of the given labels, or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from stellwerk.errors import ConfigurationError
from stellwerk.worker import Example, Worker
from stellwerk.workers.create import create_worker

UNKNOWN = "unknown"


def classify_worker(
    labels: Sequence[str] | Mapping[str, str],
    *,
    name: str = "classify",
    examples: Sequence[tuple[str, str]] = (),
) -> Worker:
    """A worker that picks a label, or `unknown` where none fits.

    Args:
        labels: the labels, or a mapping from label to what it means.
        name: of the worker.
        examples: pairs of text and label.

    Raises:
        ConfigurationError: if there are fewer than two labels, or an example has another label.
    """
    meanings = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels, "")
    if len(meanings.keys() - {UNKNOWN}) < 2:
        raise ConfigurationError(f"worker {name!r}: found labels {list(meanings)}; give at least two")
    meanings.setdefault(UNKNOWN, "none of the others fits")
    for text, label in examples:
        if label not in meanings:
            raise ConfigurationError(
                f"worker {name!r}: example {text[:60]!r} has the unknown label {label!r}"
            )
    field: Any = (Literal[tuple(meanings)], ...)
    # Else the grammar lets a small model go on after the label, and invent a description for it.
    closed = ConfigDict(extra="forbid")
    output: type[BaseModel] = create_model("Label", __config__=closed, label=field)
    listed = "\n".join(
        f"- {label}: {meaning}" if meaning else f"- {label}" for label, meaning in meanings.items()
    )
    return create_worker(
        name,
        description=f"pick one label: {', '.join(meanings)}",
        output=output,
        prompt=f"Pick the one label that fits the job's text best.\nLabels:\n{listed}",
        examples=[Example(instruction=text, answer={"label": label}) for text, label in examples],
        max_tokens=64,
    )
