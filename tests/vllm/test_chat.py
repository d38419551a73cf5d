"""What a vLLM server and `ChatVLLM` do together. The model is too small to be right; it has to be held."""

import asyncio
import json
import re
from functools import reduce
from operator import add
from typing import Any, Literal

import httpx
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from pydantic import BaseModel, ConfigDict, Field

from stellwerk.errors import ContextOverflowError
from stellwerk.tiers.tier import Request
from stellwerk.tiers.vllm import ChatVLLM
from stellwerk.tiers.vllm_tier import vllm_tier
from tests.vllm.server import NAME, Server

QUESTION = "What is the capital of France?"
PAGE = "The river is long, and the town at its bank is old. " * 40


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=20)
    country: Literal["France", "Spain"]
    size: Literal[1, 2, 3]


class Sum(BaseModel):
    """Add two numbers."""

    a: int
    b: int


class Product(BaseModel):
    """Multiply two numbers."""

    a: int
    b: int


@pytest.fixture
def chat(server: Server) -> ChatVLLM:
    return ChatVLLM(model=NAME, base_url=server.url, max_retries=0, max_tokens=40)


def cached(message: Any) -> int:
    return int(message.usage_metadata["input_token_details"].get("cache_read", 0))


def test_an_answer_has_text_usage_and_a_reason_to_stop(chat: ChatVLLM) -> None:
    message = chat.invoke(QUESTION)
    assert message.text
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] > 0
    assert message.response_metadata["finish_reason"] in ("stop", "length")
    assert message.response_metadata["model_name"] == NAME


def test_the_same_question_has_the_same_answer_in_every_way_of_asking(chat: ChatVLLM) -> None:
    whole = chat.invoke(QUESTION)
    first, *rest = chat.stream(QUESTION)
    streamed = first.__add__(rest)
    other = asyncio.run(chat.ainvoke(QUESTION))
    assert len(rest) > 1
    assert streamed.text == whole.text == other.text
    assert whole.usage_metadata is not None
    assert streamed.usage_metadata is not None
    assert streamed.usage_metadata["total_tokens"] == whole.usage_metadata["total_tokens"]


def test_what_was_cached_is_counted_and_a_salt_keeps_it_apart(chat: ChatVLLM) -> None:
    short = chat.model_copy(update={"max_tokens": 2})
    short.invoke(PAGE + QUESTION)
    assert cached(short.invoke(PAGE + QUESTION)) > 0
    assert max(cached(chunk) for chunk in short.stream(PAGE + QUESTION) if chunk.usage_metadata) > 0
    assert cached(short.invoke(PAGE + QUESTION, cache_salt="pepper")) == 0
    assert cached(short.invoke(PAGE + QUESTION, cache_salt="pepper")) > 0


@pytest.mark.parametrize("question", ["Name a town.", "Say nothing.", "Write a poem about the sea."])
def test_a_schema_is_obeyed_whatever_is_asked(server: Server, question: str) -> None:
    tier = vllm_tier("small", model=NAME, base_url=server.url)
    request = Request(messages=[HumanMessage(question)], schema=City.model_json_schema(), max_tokens=300)
    reply = tier.call(request)
    assert reply.finish == "stop"
    City.model_validate_json(reply.text)


def test_a_pydantic_class_comes_back_as_one(chat: ChatVLLM) -> None:
    structured = chat.with_structured_output(City)
    assert isinstance(structured.invoke("Name a town.", max_tokens=300), City)


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [
        ({"choice": ["heron", "otter"]}, "heron|otter"),
        ({"regex": "[0-9]{3}-[a-f]"}, "[0-9]{3}-[a-f]"),
        ({"grammar": 'root ::= "left" | "right"'}, "left|right"),
        ({"json": {"type": "array", "items": {"enum": [7]}, "minItems": 1, "maxItems": 1}}, r"\[\s*7\s*\]"),
    ],
)
def test_every_kind_of_constraint_holds(chat: ChatVLLM, constraint: Any, pattern: str) -> None:
    text = chat.invoke("Say something.", structured_outputs=constraint).text
    assert re.fullmatch(pattern, text)


def test_the_constraints_of_old_are_ignored_by_the_server(server: Server) -> None:
    """Why `ChatVLLM` refuses them: the server answers 200, and freely."""
    body: dict[str, Any] = {
        "model": NAME,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 20,
        "temperature": 0,
        "guided_choice": ["heron", "otter"],
        "guided_json": City.model_json_schema(),
    }
    answer = httpx.post(f"{server.url}/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200
    text = answer.json()["choices"][0]["message"]["content"]
    assert text not in ("heron", "otter")
    assert not text.lstrip().startswith("{")


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize(("choice", "names"), [("any", {"Sum", "Product"}), ("Product", {"Product"})])
def test_a_tool_that_must_be_called_is_called_as_its_schema_says(
    chat: ChatVLLM, choice: str, names: set[str], way: str
) -> None:
    bound = chat.bind_tools([Sum, Product], tool_choice=choice)
    if way == "invoke":
        message = bound.invoke("What is 2 plus 3?", max_tokens=100)
    else:
        chunks = [*bound.stream("What is 2 plus 3?", max_tokens=100)]
        assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
        message = reduce(add, chunks)
    (call,) = message.tool_calls
    assert call["name"] in names
    Sum.model_validate(call["args"], strict=True)
    assert message.invalid_tool_calls == []


def test_a_tool_that_may_be_called_leaves_an_answer_either_way(chat: ChatVLLM) -> None:
    message = chat.bind_tools([Sum], tool_choice="auto").invoke("What is 2 plus 3?", max_tokens=100)
    assert message.text or message.tool_calls


def test_tools_and_a_schema_go_together(chat: ChatVLLM) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": City.model_json_schema()}}
    message = chat.bind_tools([Sum]).invoke("Name a town.", response_format=form, max_tokens=300)
    assert message.tool_calls or City.model_validate_json(message.text)


def test_log_probabilities_are_those_of_every_token(chat: ChatVLLM) -> None:
    message = chat.invoke(QUESTION, logprobs=True, top_logprobs=3)
    summary = message.response_metadata["logprobs_summary"]
    assert message.usage_metadata is not None
    assert summary["count"] == message.usage_metadata["output_tokens"]
    assert summary["min"] <= summary["mean"] <= 0
    assert summary["perplexity"] >= 1
    assert 0 < summary["entropy"] < 10
    first, *rest = chat.stream(QUESTION, logprobs=True, top_logprobs=3)
    streamed = first.__add__(rest).response_metadata["logprobs_summary"]
    assert streamed == pytest.approx(summary, rel=0.05)


def test_a_tier_asks_for_log_probabilities(server: Server) -> None:
    tier = vllm_tier("small", model=NAME, base_url=server.url)
    reply = tier.call(Request(messages=[HumanMessage(QUESTION)], max_tokens=5, logprobs=True))
    assert reply.logprobs is not None
    assert reply.logprobs["count"] == reply.usage["output"]


def test_a_priority_is_taken(chat: ChatVLLM) -> None:
    assert chat.invoke(QUESTION, priority=-1).text


def test_a_prompt_that_does_not_fit_is_a_context_overflow(server: Server) -> None:
    tier = vllm_tier("small", model=NAME, base_url=server.url)
    with pytest.raises(ContextOverflowError, match="2048"):
        tier.call(Request(messages=[HumanMessage("word " * 3000)]))


def test_an_answer_to_a_schema_that_is_cut_off_says_so(server: Server) -> None:
    tier = vllm_tier("small", model=NAME, base_url=server.url)
    request = Request(messages=[HumanMessage("Name a town.")], schema=City.model_json_schema(), max_tokens=4)
    reply = tier.call(request)
    assert reply.finish == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.text)
