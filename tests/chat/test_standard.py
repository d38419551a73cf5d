"""LangChain's own tests of what a chat model has to do, before it has a server and with one."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

pytest.importorskip(
    "langchain_tests", reason="langchain-tests is not installed; it comes with stellwerk[dev]"
)

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from stellwerk import Ladder, LadderChatModel, Price, openai_tier
from tests.fake_openai import Body, ToolCalls, serve_openai
from tests.fakes import always, ladder

PARAMS = {"temperature": 0, "max_tokens": 100, "stop": []}  # all of LangChain's that are of a call


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LadderChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"ladder": ladder(always("ok"), always("ok"))}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return PARAMS


def value(schema: Body, word: str = "three") -> Any:
    """A value that follows a schema, with the word for its texts."""
    match schema:
        case {"enum": [first, *_]} | {"const": first}:
            return first
        case {"anyOf": [first, *_]}:
            return value(first, word)
        case {"type": "object"} | {"properties": _}:
            return {name: value(part, word) for name, part in schema.get("properties", {}).items()}
        case {"type": "integer" | "number"}:
            return 3
        case {"type": "array", "items": items}:
            return [value(items, word)]
        case {"type": "boolean"}:
            return True
    return word


def answer(body: Body) -> object:
    """Calls a tool if there is one and it has not answered, fills in a schema, or says something."""
    match body.get("response_format"):
        case {"json_schema": {"schema": schema}}:
            return value(schema)
        case {"type": "json_object"}:
            return {"setup": "Why?", "punchline": "So."}
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", ())}
    if tools and body["messages"][-1]["role"] != "tool":
        match body.get("tool_choice"):
            case {"function": {"name": name}}:
                pass
            case _:
                name = next(iter(tools))
        quoted = re.search(r"'([^']+)'", str(body["messages"][-1]["content"]))
        word = quoted[1] if quoted else "three"
        return ToolCalls([(name, json.dumps(value(tools[name].get("parameters") or {}, word)))])
    return "The answer is three."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_openai(answer) as server:
        yield server.url


class TestStandardServed(ChatModelIntegrationTests):
    _url = ""

    @pytest.fixture(autouse=True)
    def _served(self, url: str) -> None:
        type(self)._url = url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LadderChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        tiers = [
            openai_tier(name, model=name, base_url=self._url, price=Price(input=price, output=price))
            for name, price in (("small", 1.0), ("large", 9.0))
        ]
        return {"ladder": Ladder(tiers)}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return PARAMS

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "large"
