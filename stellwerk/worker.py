"""The worker: a specialist for one narrow kind of work, as a specification.

A worker says what to ask, what an answer looks like and how it is checked. It names no model: the
router picks a tier for each attempt, and `stellwerk.graphs` compiles the worker into a subgraph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from stellwerk.account import Purse
from stellwerk.document import Document
from stellwerk.effects import UNDECLARED, Effect
from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError
from stellwerk.flat_schema import flat, with_unknown
from stellwerk.outcome import ToolUse
from stellwerk.rails import Rails
from stellwerk.run_options import RunOptions
from stellwerk.trace import Exchange

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a worker is given: the instruction, the documents, and the results it depends on.

    `tools` is empty before the model is asked; checks find there what the tools gave. `position` is the
    subtask's place in its plan, from 0, and `size` the number of subtasks of that. `rails` are those that the
    tier at hand needs, or the worker's own. `run` and `subtask` name what side effects belong to: the same
    for a run that is resumed. `exchange` is there where attempts are traced, `purse` where the run has a
    budget, and `options` where some were chosen for it.
    """

    instruction: str
    documents: Sequence[Document] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[ToolUse] = ()
    position: int = 0
    size: int = 1
    run: str = field(default="", compare=False)
    subtask: str = field(default="", compare=False)
    rails: Rails = field(default_factory=Rails, compare=False)
    exchange: Exchange | None = field(default=None, repr=False, compare=False)
    purse: Purse | None = field(default=None, repr=False, compare=False)
    options: RunOptions | None = field(default=None, repr=False, compare=False)

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
    """A specialist: prompt, output schema, checks. Made by `create_worker`.

    Where `rails` is None, it runs on what each tier needs. `effects` are those that its tools declare.
    `remote` is the graph on another server that makes the attempts, within `remote_timeout` seconds. A person
    is asked before it begins where `approve` is true, before calls of `approve_tools`, and, with `ask`, for
    what it does not know.
    """

    name: str
    description: str
    output: type[BaseModel]
    prompt: str | Callable[[Rails], str]
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
    effects: Mapping[str, Effect] = field(default_factory=dict)
    rails: Rails | None = None
    reasoning: int = 0
    remote: Any = None
    remote_timeout: float | None = None
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)
    approve: bool = False
    approve_tools: frozenset[str] = frozenset()
    ask: bool = False

    def __post_init__(self) -> None:
        _ = self.substitute  # so that one that does not fit is an error at once, also with `replace`

    @cached_property
    def substitute(self) -> Any:
        """What those who need a failed result are given, as JSON; None if nothing.

        Raises:
            ConfigurationError: if it does not fit the worker's output.
        """
        given = self.errors.substitute
        if given is None:
            return None
        try:
            # What `finish` makes has a model of its own, which only its result shows.
            known = isinstance(given, BaseModel) and (
                self.finish is not None or isinstance(given, self.output)
            )
            value = given if known else self.output.model_validate(given)
            made = value.model_dump(mode="json")
            json.dumps(made, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise ConfigurationError(
                f"worker {self.name!r}: substitute {given!r} does not fit {self.output.__name__}: {error}"
            ) from error
        return made

    @cached_property
    def schema(self) -> Schema:
        """JSON schema of the model's answer."""
        return self.output.model_json_schema()

    def rails_for(self, brief: Brief) -> Rails:
        """Its own rails, or else those that the tier at hand needs."""
        return self.rails or brief.rails

    def on_its_rails(self, brief: Brief) -> Brief:
        """The brief for the worker's own code, with the rails in force."""
        return replace(brief, rails=self.rails) if self.rails else brief

    def prompt_for(self, brief: Brief) -> str:
        """What it says to the model."""
        return self._prompt(self.rails_for(brief))

    def schema_for(self, brief: Brief) -> Schema:
        """The schema for one brief: narrower where the worker knows more (given labels, say)."""
        brief = self.on_its_rails(brief)
        schema = with_unknown(self.schema) if brief.rails.unknown else self.schema
        schema = self.narrow(schema, brief) if self.narrow else schema
        return flat(schema) if brief.rails.flatten else schema

    @cached_property
    def tool_schemas(self) -> tuple[Schema, ...]:
        """The tools as a model is told of them, in the form of the OpenAI chat API."""
        return tuple(convert_to_openai_tool(tool) for tool in self.tools)

    @cached_property
    def serial(self) -> frozenset[str]:
        """Tools that declare side effects: their calls are made one after the other."""
        return frozenset(name for name, declared in self.effects.items() if declared.writes)

    def effect_of(self, tool: str) -> Effect:
        """What a tool declares; one that declares nothing counts as a write."""
        return self.effects.get(tool, UNDECLARED)

    def asks_before(self, tool: str) -> bool:
        """Whether a person is asked before a tool is called."""
        return tool in self.approve_tools or self.effect_of(tool).approve

    @cached_property
    def asks_people(self) -> bool:
        """Whether a person may be asked, apart from what nobody can know beforehand."""
        return self.approve or self.ask or any(self.asks_before(tool.name) for tool in self.tools)

    @property
    def version(self) -> str:
        """Short hash of all that shapes an answer, so that traces of two wordings stay apart."""
        return self.version_on(Rails())

    def version_on(self, needed: Rails) -> str:
        """The version on a tier that needs those rails; the same on all tiers if it has rails of its own."""
        rails = self.rails or needed
        if (known := self._versions.get(rails)) is None:
            known = self._versions[rails] = self._hashed(rails)
        return known

    @cached_property
    def _versions(self) -> dict[Rails, str]:
        return {}

    def _prompt(self, rails: Rails) -> str:
        return self.prompt if isinstance(self.prompt, str) else self.prompt(rails)

    def _hashed(self, rails: Rails) -> str:
        shape = [
            self.name,
            self._prompt(rails),
            self.schema,
            [[example.instruction, dict(example.answer)] for example in self.examples],
            [getattr(code, "__qualname__", repr(code)) for code in (*self.checks, self.narrow, self.finish)],
            self.max_tokens,
            [repr(rails), self.reasoning],
        ]
        if self.remote is not None:
            shape.append(str(getattr(self.remote, "assistant_id", type(self.remote).__name__)))
        if self.tools:
            shape += [self.tool_schemas, self.max_tool_rounds, self.max_tool_output]
            shape += [self.tool_timeout, self.parallel_tools, sorted(self.serial)]
        content = json.dumps(shape, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
