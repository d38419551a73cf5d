"""A call as routers see it: a subtask, its worker, and the brief."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel

from stellwerk.chat.offered import Json, Offered
from stellwerk.document import Document
from stellwerk.plan import Subtask
from stellwerk.worker import Brief, Schema, Worker

_EXPECTED = 512  # tokens of an answer without a limit
_TEXT: Schema = {"type": "string"}


class FreeText(BaseModel):
    """What a call gives that asks for no schema: a text, or calls of tools."""

    text: str


class OfferedTool(BaseTool):
    """A tool that the program itself runs; here it is only offered."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{self.name} is run by the program that offers it")


@dataclass(frozen=True, kw_only=True, eq=False)
class CallWorker(Worker):
    """The worker that a call amounts to: its system prompt, its tools, and the schema of its answer."""

    given: Schema
    offered: tuple[Json, ...] = ()

    @cached_property
    def schema(self) -> Schema:
        """JSON schema of the answer."""
        return self.given

    @cached_property
    def tool_schemas(self) -> tuple[Schema, ...]:
        """The tools as the model is told of them."""
        return self.offered

    @cached_property
    def answer_schema(self) -> Schema:
        """The schema of the answer, without references, and as open as JSON Schema has it."""
        opened: Schema = _opened(_inlined(self.given))
        return opened

    @cached_property
    def parameters(self) -> Mapping[str, Schema]:
        """The parameters of each tool, without references; those that a provider runs are left out."""
        functions = (tool.get("function") for tool in self.offered)
        return {
            function["name"]: _inlined(function.get("parameters") or {})
            for function in functions
            if isinstance(function, dict)
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What a router decides about."""

    subtask: Subtask
    worker: CallWorker
    brief: Brief


def subject_of(messages: Sequence[BaseMessage], offered: Offered, worker: str | None = None) -> Subject:
    """The subject of a call.

    The instruction is the last human message. What tools gave since then are the inputs, what was said
    before is a document, and the position is the number of the model's turns since then. The worker's prompt
    is the system message.

    Args:
        messages: the prompt.
        offered: what the call offers.
        worker: name of the worker; if None, that of the answer's schema, or `call_tools`, or `chat`.
    """
    system = "\n\n".join(message.text for message in messages if isinstance(message, SystemMessage))
    spoken = [message for message in messages if not isinstance(message, SystemMessage)]
    start = next((i for i in reversed(range(len(spoken))) if isinstance(spoken[i], HumanMessage)), 0)
    instruction = spoken[start].text if spoken else system
    since = spoken[start + 1 :]
    turns = sum(isinstance(message, AIMessage) for message in since)
    made = call_worker(worker or _name(offered), system, offered)
    before = "\n\n".join(text for message in spoken[:start] if (text := str(message.text)))
    brief = Brief(
        instruction=str(instruction),
        documents=[Document(name="conversation", text=before)] if before else [],
        inputs=_given(since),
        position=turns,
        size=turns + 1,
    )
    # Not validated: whoever talks to a model may leave a message blank.
    subtask = Subtask.model_construct(id="call", worker=made.name, instruction=str(instruction))
    return Subject(subtask=subtask, worker=made, brief=brief)


def call_worker(name: str, prompt: str, offered: Offered) -> CallWorker:
    """The worker of a call; calls with the same prompt, tools and schema share one."""
    tools = json.dumps(offered.tools, default=str)
    schema = json.dumps(offered.schema) if offered.schema is not None else ""
    return _worker(name, prompt, tools, schema, offered.max_tokens or _EXPECTED)


@lru_cache(maxsize=64)
def _worker(name: str, prompt: str, tools: str, schema: str, max_tokens: int) -> CallWorker:
    offered: list[Json] = json.loads(tools)
    return CallWorker(
        name=name,
        description="a call of a chat model",
        output=FreeText,
        prompt=prompt,
        max_tokens=max_tokens,
        repairs=0,
        tools=tuple(_tool(each) for each in offered),
        given=json.loads(schema) if schema else _TEXT,
        offered=tuple(offered),
    )


def _tool(offered: Json) -> OfferedTool:
    function = offered.get("function") or offered
    name = str(function.get("name") or offered.get("type") or "tool")
    # Without a description a tool refuses to be made.
    return OfferedTool(
        name=name,
        description=str(function.get("description") or name),
        args_schema=function.get("parameters") or {"type": "object", "properties": {}},
    )


def _name(offered: Offered) -> str:
    if offered.schema is not None:
        title = re.sub(r"[^a-z0-9]+", "_", str(offered.schema.get("title", "")).lower()).strip("_")
        return title[:32] or "answer"
    return "call_tools" if offered.tools else "chat"


def _given(messages: Iterable[BaseMessage]) -> dict[str, str]:
    results = [message for message in messages if isinstance(message, ToolMessage)]
    return {f"{message.name or 'tool'}-{number}": str(message.text) for number, message in enumerate(results)}


def _inlined(schema: Schema) -> Schema:
    if "$ref" not in json.dumps(schema, default=str):
        return schema
    return dereference_refs(schema, skip_keys=[])


def _opened(schema: Any) -> Any:
    """The schema with what `breach` takes for closed said to be open: it goes by the habits of tools."""
    if isinstance(schema, list):
        return [_opened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    own = schema.get("properties")
    opened = {key: value if key == "enum" else _opened(value) for key, value in schema.items()}
    if isinstance(own, dict):
        opened["properties"] = {name: _opened(part) for name, part in own.items()}
        opened.setdefault("additionalProperties", True)
    return opened
