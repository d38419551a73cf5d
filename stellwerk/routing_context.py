"""The routing context: what is known of a subtask before it is attempted.

A contextual bandit's word: a router sees a context, picks a tier, and sees what comes of it. Contexts are
stored with traces, so that a router is trained on just what it will see.
"""

from __future__ import annotations

from functools import lru_cache

from typing_extensions import TypedDict

from stellwerk.plan import Subtask
from stellwerk.worker import Brief, Schema, Worker


class RoutingContext(TypedDict):
    """A subtask as a router sees it; plain JSON.

    `instruction` is empty where the content of traces is not kept. `fields`, `choices` and `depth` are of the
    answer's schema: how many values it has, how many options in all its enums, and how deep it nests.
    `source` is the number of characters of documents and inputs, `inputs` how many results it needs;
    `position` and `size` say where in the plan it stands, from 0, and how many subtasks that has.
    """

    worker: str
    worker_version: str
    instruction: str
    prompt: int
    fields: int
    choices: int
    depth: int
    tools: list[str]
    max_tokens: int
    source: int
    inputs: int
    position: int
    size: int


def routing_context(subtask: Subtask, worker: Worker, brief: Brief | None = None) -> RoutingContext:
    """The context of a subtask; without a brief, documents and inputs count as empty."""
    prompt, fields, choices, depth = _fixed(worker)
    return RoutingContext(
        worker=worker.name,
        worker_version=worker.version,
        instruction=subtask.instruction,
        prompt=prompt,
        fields=fields,
        choices=choices,
        depth=depth,
        tools=[tool.name for tool in worker.tools],
        max_tokens=worker.max_tokens,
        source=len(brief.source) if brief is not None else 0,
        inputs=len(brief.inputs) if brief is not None else len(subtask.depends_on),
        position=brief.position if brief is not None else 0,
        size=brief.size if brief is not None else 1,
    )


@lru_cache(maxsize=256)  # a decision is made for each attempt, and a worker does not change
def _fixed(worker: Worker) -> tuple[int, int, int, int]:
    prompt = worker.prompt_for(Brief(instruction=""))
    return len(prompt), *_shape(worker.schema, worker.schema.get("$defs") or {})


def _shape(schema: Schema, definitions: Schema, level: int = 0) -> tuple[int, int, int]:
    """Values, options and depth of a JSON schema; a schema that contains itself is followed a few levels."""
    if level > 8:
        return 0, 0, level
    if isinstance(reference := schema.get("$ref"), str):
        inner = definitions.get(reference.rpartition("/")[2]) or {}
        return _shape(inner, definitions, level + 1)
    fields, deepest = 0, level
    choices = len(schema.get("enum") or ())
    parts = [*(schema.get("properties") or {}).values(), *(schema.get("anyOf") or ())]
    if isinstance(items := schema.get("items"), dict):
        parts.append(items)
    for part in parts:
        if isinstance(part, dict):
            more, options, depth = _shape(part, definitions, level + 1)
            fields, choices, deepest = fields + more, choices + options, max(deepest, depth)
    return (fields if parts else 1), choices, deepest
