"""The worker: a specialist for one narrow kind of work, as a specification.

A worker says what to ask, what an answer looks like and how it is checked. It names no model: the
router picks a tier for each attempt, and `stellwerk.graphs` compiles the worker into a subgraph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from stellwerk.document import Document
from stellwerk.flat_schema import flat, with_unknown
from stellwerk.outcome import ToolUse
from stellwerk.rails import Rails
from stellwerk.trace import Exchange

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a worker is given: the instruction, the documents, and the results it depends on.

    `tools` is empty before the model is asked; checks find there what the tools gave. `exchange` is there
    where attempts are traced.
    """

    instruction: str
    documents: Sequence[Document] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[ToolUse] = ()
    exchange: Exchange | None = field(default=None, repr=False, compare=False)

    @cached_property
    def source(self) -> str:
        """All text that an answer may rest on: the documents, the inputs as JSON, what tools gave."""
        texts = [document["text"] for document in self.documents]
        texts += [_plain(value) for value in self.inputs.values()]
        # What a failed tool says may quote the model's own arguments, which prove nothing.
        texts += [use["output"] for use in self.tools if not use["failed"]]
        return "\n\n".join(texts)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A solved case, shown to the model: an instruction and the answer that it should give."""

    instruction: str
    answer: Mapping[str, Any]


Check = Callable[[Any, Brief], str | None]
"""A check gets the answer and the brief, and returns None, or what is wrong in a sentence."""

Finish = Callable[[Any, Brief], BaseModel]
"""Turns the model's checked answer into the worker's result; what it raises rejects the attempt."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Worker:
    """A specialist: prompt, output schema, checks. Made by `create_worker`."""

    name: str
    description: str
    output: type[BaseModel]
    prompt: str
    examples: tuple[Example, ...] = ()
    checks: tuple[Check, ...] = ()
    finish: Finish | None = None
    narrow: Callable[[Schema, Brief], Schema] | None = None
    claims: Callable[[Brief], bool] | None = None
    repairs: int = 1
    max_tokens: int = 512
    tools: tuple[BaseTool, ...] = ()
    max_tool_rounds: int = 5
    max_tool_output: int = 8_000
    tool_timeout: float | None = 30.0
    parallel_tools: bool | None = None
    serial: frozenset[str] = frozenset()
    rails: Rails = field(default_factory=Rails)
    reasoning: int = 0

    @cached_property
    def schema(self) -> Schema:
        """JSON schema of the model's answer."""
        return self.output.model_json_schema()

    def schema_for(self, brief: Brief) -> Schema:
        """The schema for one brief: narrower where the worker knows more (given labels, say)."""
        schema = with_unknown(self.schema) if self.rails.unknown else self.schema
        schema = self.narrow(schema, brief) if self.narrow else schema
        return flat(schema) if self.rails.flatten else schema

    @cached_property
    def tool_schemas(self) -> tuple[Schema, ...]:
        """The tools as a model is told of them, in the form of the OpenAI chat API."""
        return tuple(convert_to_openai_tool(tool) for tool in self.tools)

    @cached_property
    def version(self) -> str:
        """Short hash of all that shapes an answer, so that traces of two wordings stay apart."""
        shape = [
            self.name,
            self.prompt,
            self.schema,
            [[example.instruction, dict(example.answer)] for example in self.examples],
            [getattr(code, "__qualname__", repr(code)) for code in (*self.checks, self.narrow, self.finish)],
            self.max_tokens,
            [repr(self.rails), self.reasoning],
        ]
        if self.tools:
            shape += [self.tool_schemas, self.max_tool_rounds, self.max_tool_output]
            shape += [self.tool_timeout, self.parallel_tools, sorted(self.serial)]
        content = json.dumps(shape, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
