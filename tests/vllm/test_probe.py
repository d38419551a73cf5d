"""What a real vLLM does, as the probe finds it. The server is the one that most tests here share."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage

from stellwerk.capabilities import Capabilities
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.probe import probe
from stellwerk.tiers.tier import Request, Tier

SCHEMA: dict[str, Any] = {
    "title": "place",
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": SCHEMA},
}
HELLO = [HumanMessage("Say hello.")]


@pytest.fixture(scope="module")
def tier(request: pytest.FixtureRequest) -> Tier:
    url: str = request.getfixturevalue("server").url
    (model, *_) = httpx.get(f"{url}/models").json()["data"]
    return openai_tier("small", model=model["id"], base_url=url)


@pytest.fixture(scope="module")
def able(tier: Tier) -> Capabilities:
    return probe(tier, limit=300).capabilities


def test_guided_json_is_taken_and_ignored(able: Capabilities) -> None:
    assert able.guided_json is False
    assert able.details["guided_json"].startswith("accepted and ignored")


def test_both_other_forms_of_a_schema_are_enforced(able: Capabilities) -> None:
    assert (able.json_schema, able.structured_outputs) == (True, True)


def test_a_schema_that_it_cannot_parse_is_refused(able: Capabilities) -> None:
    assert able.unparsable_schema == "refused"


def test_tools_are_called_where_they_are_named_or_required(able: Capabilities) -> None:
    assert (able.named_tool, able.required_tool, able.strict_tool) == (True, True, True)
    assert able.tools_with_schema is True


def test_the_server_says_what_it_is(able: Capabilities) -> None:
    assert able.server == "vllm"
    assert able.version.startswith("0.")
    assert able.context_window is not None
    assert able.context_window > 500
    assert (able.logprobs, able.stream_usage, able.tokenizer, able.metrics) == (True,) * 4
    assert (able.adapters_listed, able.adapters_loadable) == (True, True)
    assert able.unanswered == ()


def test_a_schema_in_vllms_own_form_is_kept(tier: Tier) -> None:
    other = replace(tier, capabilities=Capabilities(json_schema=False, structured_outputs=True))
    answer = other.call(Request(messages=HELLO, schema=SCHEMA, max_tokens=60)).text
    assert json.loads(answer)["city"] in ("Rome", "Oslo")


def test_a_tool_that_is_required_instead_has_the_arguments_of_its_schema(
    tier: Tier, able: Capabilities
) -> None:
    other = replace(tier, capabilities=replace(able, auto_tool=False))
    message = other.call(Request(messages=HELLO, tools=(TOOL,), max_tokens=64)).message
    (call,) = message.tool_calls
    assert call["name"] == "get_weather"
    assert call["args"]["city"] in ("Rome", "Oslo")
