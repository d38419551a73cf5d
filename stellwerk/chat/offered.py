"""What a call offers a model, and how the call becomes a request to a tier."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from stellwerk.errors import ConfigurationError
from stellwerk.nodes.state import Terms
from stellwerk.tiers.tier import Request, Tier
from stellwerk.worker import Schema

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_FREE = ("auto", "none", "required")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offered:
    """The arguments of a call, taken apart.

    Args:
        tools: in the form of the OpenAI chat API.
        tool_choice: `"auto"`, `"none"`, `"required"`, the name of a tool, or None.
        schema: that the answer has to follow, with its name as `title`; None for free text.
        json: whether the answer has to be JSON, under a schema or not.
        max_tokens: of the answer.
        options: all other arguments, for the tier's model as they are.
    """

    tools: tuple[Json, ...] = ()
    tool_choice: str | None = None
    schema: Schema | None = None
    json: bool = False
    max_tokens: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Offered:
        """Take the keyword arguments of a call apart; those that are None count as not given."""
        options = {name: value for name, value in arguments.items() if value is not None}
        tools = tuple(options.pop("tools", None) or ())
        choice = _choice(options.pop("tool_choice", None))
        schema, is_json = None, False
        match options.get("response_format"):
            case {"type": "json_schema", "json_schema": {"schema": dict(given), **about}}:
                del options["response_format"]
                schema, is_json = named(given, str(about.get("name") or given.get("title") or "answer")), True
            case {"type": "json_object"}:
                is_json = True
        completion = options.pop("max_completion_tokens", None)
        given_max = options.pop("max_tokens", completion)
        return cls(
            tools=tools,
            tool_choice=choice if tools else None,
            schema=schema,
            json=is_json,
            max_tokens=given_max,
            options=options,
        )

    def request(
        self, messages: Sequence[BaseMessage], tier: Tier, terms: Terms, *, flow: str, deadline: float | None
    ) -> Request:
        """The request to a tier.

        Args:
            messages: the prompt.
            tier: who is asked.
            terms: of the attempt.
            flow: the thread that the call belongs to.
            deadline: `time.monotonic()` by which the answer has to be there, or None.
        """
        return Request(
            messages=messages,
            schema=self.schema,
            strict=self.schema is not None and is_closed(self.schema),
            max_tokens=self.max_tokens,
            tools=self.tools,
            tool_choice=self.tool_choice,
            # Only where it was seen to work: some hosted models answer it with an error.
            logprobs=bool(tier.capabilities and tier.capabilities.logprobs),
            flow=flow,
            patience=None if terms["last"] else tier.patience,
            deadline=deadline,
            options=self.options,
        )


def named(schema: Schema, name: str) -> Schema:
    """A schema with a title that every server takes for a name."""
    return {**schema, "title": _NAME.sub("_", name)[:64] or "answer"}


def is_closed(schema: object) -> bool:
    """Whether every object of a schema lists all its values, and requires each.

    OpenAI refuses `strict` for any other schema.
    """
    if isinstance(schema, list):
        return all(is_closed(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    own = schema.get("properties")
    if schema.get("type") == "object" or isinstance(own, dict):
        names = set(own or {})
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != names:
            return False
        parts = [value for key, value in schema.items() if key != "properties"]
        return is_closed([*parts, *(own or {}).values()])
    return is_closed([value for key, value in schema.items() if key not in ("enum", "default", "examples")])


def choice_of(tool_choice: object, names: Sequence[str]) -> object:
    """A tool choice in the form of the OpenAI chat API.

    Args:
        tool_choice: a name, a word, a flag, `"any"`, or the form itself.
        names: of the tools.

    Raises:
        ConfigurationError: if it names a tool that is not there.
    """
    match tool_choice:
        case None | False:
            return None
        case True | "any":
            return "required"
        case str(word) if word in _FREE:
            return word
        case str(name):
            if name not in names:
                raise ConfigurationError(f"tool_choice is {name!r}; the tools are: {', '.join(names)}")
            return {"type": "function", "function": {"name": name}}
        case _:
            return tool_choice


def _choice(tool_choice: object) -> str | None:
    match tool_choice:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
        case True | "any":
            return "required"
        case str(word):
            return word
        case _:
            return None
