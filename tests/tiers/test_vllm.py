import asyncio
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from openai import APIConnectionError
from pydantic import BaseModel, SecretStr

from stellwerk.errors import ConfigurationError, TierError
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Request
from stellwerk.tiers.vllm import ChatVLLM
from stellwerk.tiers.vllm_tier import vllm_tier
from tests.tiers.openai_server import Prepared, completion, events, serve_prepared
from tests.tiers.test_tier import raw_server

SCHEMA = {"title": "said", "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "said", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}


def chat(server: Prepared | str, **fields: Any) -> ChatVLLM:
    url = server if isinstance(server, str) else server.url
    return ChatVLLM(model="small", base_url=url, max_retries=0, **fields)


Ask = Callable[..., AIMessage]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask for an answer in one piece."""
    if request.param == "sync":
        return lambda chat, **options: chat.invoke("Hello", **options)
    return lambda chat, **options: asyncio.run(chat.ainvoke("Hello", **options))


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest) -> Ask:
    """Ask for a stream, and add up its chunks."""

    def added(chunks: list[AIMessageChunk]) -> AIMessageChunk:
        first, *rest = chunks
        return first.__add__(rest) if rest else first

    async def collect(model: ChatVLLM, options: dict[str, Any]) -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream("Hello", **options)]

    if request.param == "sync":
        return lambda chat, **options: added(list(chat.stream("Hello", **options)))
    return lambda chat, **options: added(asyncio.run(collect(chat, options)))


# What is sent


def test_a_request_has_the_defaults_of_a_tier(ask: Ask) -> None:
    with serve_prepared(completion("Good day")) as server:
        assert ask(chat(server)).content == "Good day"
    path, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["seed"]) == ("small", 0, 0)
    assert not {"adapter", "priority", "cache_salt", "structured_outputs", "response_format"} & body.keys()


@pytest.mark.parametrize("how", ["field", "call"])
def test_what_vllm_adds_to_a_request_is_sent_as_vllm_takes_it(ask: Ask, how: str) -> None:
    own: dict[str, Any] = {
        "adapter": "invoices@v3",
        "priority": -2,
        "cache_salt": "pepper",
        "structured_outputs": {"choice": ["yes", "no"]},
        "extra_body": {"top_k": 5},
    }
    with serve_prepared(completion("yes", model="invoices@v3")) as server:
        ask(chat(server, **own)) if how == "field" else ask(chat(server), **own)
    body = server.body
    assert (body["model"], body["priority"], body["cache_salt"]) == ("invoices@v3", -2, "pepper")
    assert (body["structured_outputs"], body["top_k"]) == ({"choice": ["yes", "no"]}, 5)
    assert "adapter" not in body


def test_a_call_goes_past_what_the_model_was_made_with(ask: Ask) -> None:
    with serve_prepared(completion("yes")) as server:
        model = chat(server, adapter="a@v1", priority=1, structured_outputs={"regex": "x+"})
        ask(model, adapter="b@v1", priority=0, structured_outputs={"choice": ["y"]})
        ask(model, model="other", response_format=FORMAT)
    (_, first), (_, second) = server.requests
    assert (first["model"], first["priority"], first["structured_outputs"]) == ("b@v1", 0, {"choice": ["y"]})
    assert (second["model"], second["response_format"]) == ("other", FORMAT)
    assert "structured_outputs" not in second


def test_tools_are_strict_unless_they_say_otherwise() -> None:
    lax = {"type": "function", "function": {"name": "mul", "strict": False, "parameters": {}}}
    with serve_prepared(completion("ok")) as server:
        chat(server).bind_tools([TOOL, lax]).invoke("Hello")
        chat(server, strict_tools=False).bind_tools([TOOL]).invoke("Hello")
    strict = [[tool["function"].get("strict") for tool in body["tools"]] for _, body in server.requests]
    assert strict == [[True, False], [None]]
    assert "strict" not in TOOL["function"]


@pytest.mark.parametrize("key", [None, SecretStr("its-own"), "its-own"])
def test_nothing_that_the_environment_holds_for_openai_is_sent(
    ask: Ask, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("API_KEY", "ORG_ID", "ORGANIZATION", "PROJECT_ID", "ADMIN_KEY", "API_BASE", "BASE_URL", "PROXY")
    for name in names:
        monkeypatch.setenv(f"OPENAI_{name}", "http://meant-for-openai")
    with serve_prepared(completion("ok")) as server:
        model = chat(server, api_key=key)
        assert ask(model).content == "ok"
    (headers,) = server.headers
    assert headers["authorization"] == f"Bearer {'its-own' if key else 'EMPTY'}"
    assert "meant-for-openai" not in str(headers)
    assert "its-own" not in repr(model)


class Watcher(BaseCallbackHandler):
    """Notes what a tracer is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.told.append((serialized, kwargs))


def test_a_salt_is_kept_from_tracers_and_from_errors(ask: Ask) -> None:
    watcher = Watcher()
    with serve_prepared(completion("ok")) as server:
        ask(chat(server, cache_salt="pepper-and-salt", callbacks=[watcher]))
        ask(chat(server, callbacks=[watcher]), cache_salt="pepper-and-salt")
    assert [body["cache_salt"] for _, body in server.requests] == ["pepper-and-salt"] * 2
    assert len(watcher.told) == 2
    assert "pepper" not in str(watcher.told)
    with serve_prepared((400, {"error": {"message": "pepper-and-salt is no salt"}})) as server:
        tier = vllm_tier("small", model="small", base_url=server.url, cache_salt="pepper-and-salt")
        with pytest.raises(TierError, match=r"'small' gave no answer: .*\*\*\* is no salt"):
            tier.call(Request(messages=[HumanMessage("Hello")]))


# What is refused


@pytest.mark.parametrize("name", ["guided_json", "guided_regex", "guided_decoding_backend"])
@pytest.mark.parametrize("place", ["field", "extra_body", "model_kwargs"])
def test_constraints_that_vllm_ignores_are_refused_when_the_model_is_made(name: str, place: str) -> None:
    given: dict[str, Any] = {name: {}} if place == "field" else {place: {name: {}}}
    with pytest.raises(
        ConfigurationError, match=f"'{name}' is ignored by vLLM since 0.12.*structured_outputs"
    ):
        chat("http://127.0.0.1:1/v1", **given)


@pytest.mark.parametrize("options", [{"guided_json": {}}, {"extra_body": {"guided_json": {}}}])
def test_constraints_that_vllm_ignores_are_refused_in_a_call(ask: Ask, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"'guided_json'.*use structured_outputs=\{'json': \.\.\.\}"):
        ask(chat("http://127.0.0.1:1/v1"), **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no constraint; give one of json, regex, choice"),
        ({"regex": "x", "choice": ["x"]}, "has regex and choice; give one"),
        ({"choices": ["x"]}, "no 'choices'; did you mean 'choice'"),
        ({"guided_json": {}}, "no 'guided_json'; did you mean 'json'"),
        ("x", "is a str"),
    ],
)
@pytest.mark.parametrize("how", ["field", "call"])
def test_a_constraint_that_is_none_is_refused(given: Any, message: str, how: str) -> None:
    url = "http://127.0.0.1:1/v1"
    make = partial(chat, url) if how == "field" else partial(chat(url).invoke, "Hello")
    with pytest.raises(ConfigurationError, match=message):
        make(structured_outputs=given)


def test_two_constraints_in_one_call_are_refused(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match="both structured_outputs and response_format"):
        ask(chat("http://127.0.0.1:1/v1"), structured_outputs={"regex": "x"}, response_format=FORMAT)


def test_a_model_needs_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "https://api.example.com/v1")
    with pytest.raises(ConfigurationError, match=r"no base_url; .*http://127\.0\.0\.1:8000/v1"):
        ChatVLLM(model="small")


# What comes back


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept(ask: Ask, key: str) -> None:
    with serve_prepared(completion({"content": "6", key: "2 times 3"})) as server:
        message = ask(chat(server))
    assert message.additional_kwargs["reasoning_content"] == "2 times 3"
    assert message.content_blocks == [
        {"type": "reasoning", "reasoning": "2 times 3"},
        {"type": "text", "text": "6"},
    ]


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_in_a_stream(stream: Ask, key: str) -> None:
    with serve_prepared(events({key: "2 times"}, {key: " 3"}, "6")) as server:
        message = stream(chat(server))
    assert message.additional_kwargs["reasoning_content"] == "2 times 3"
    assert message.content_blocks == [
        {"type": "reasoning", "reasoning": "2 times 3"},
        {"type": "text", "text": "6"},
    ]


class Said(BaseModel):
    text: str


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_reasoning_is_kept_once_beside_a_parsed_answer(way: str) -> None:
    whole = {"content": '{"text": "six"}', "reasoning": "2 times 3"}
    answer: Any = completion(whole) if way == "invoke" else events(*({key: whole[key]} for key in whole))
    with serve_prepared(answer) as server:
        model = chat(server).with_structured_output(Said, include_raw=True)
        parts = [model.invoke("Hello")] if way == "invoke" else list(model.stream("Hello"))
    raw = [part["raw"] for part in parts if "raw" in part]
    message = raw[0].__add__(raw[1:]) if len(raw) > 1 else raw[0]
    assert message.additional_kwargs["reasoning_content"] == "2 times 3"
    assert [part["parsed"] for part in parts if part.get("parsed")][-1] == Said(text="six")


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_that_does_not_follow_its_class_is_shown_in_the_error(way: str) -> None:
    text = '{"te'
    answer: Any = completion(text, finish="length") if way == "invoke" else events(text, finish="length")
    with serve_prepared(answer) as server:
        model = chat(server).with_structured_output(Said)
        with pytest.raises(ValueError, match=r'does not have a .parsed. field[\s\S]*"te[\s\S]*length'):
            model.invoke("Hello") if way == "invoke" else list(model.stream("Hello"))
    assert server.body["response_format"]["json_schema"]["schema"] == Said.model_json_schema()


def test_usage_is_there_with_what_was_cached(ask: Ask) -> None:
    with serve_prepared(completion("ok")) as server:
        usage = ask(chat(server)).usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 7)
    assert usage["input_token_details"]["cache_read"] == 60


def test_usage_is_asked_for_in_a_stream(stream: Ask) -> None:
    with serve_prepared(events("o", "k")) as server:
        message = stream(chat(server))
    assert server.body["stream_options"] == {"include_usage": True}
    assert message.content == "ok"
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 7
    assert message.usage_metadata["input_token_details"]["cache_read"] == 60


LOGPROBS = [
    {"content": [{"token": text, "logprob": math.log(chance), "top_logprobs": []}]}
    for text, chance in (("o", 0.5), ("k", 0.125))
]
SUMMARY = {
    "mean": math.log(0.25),
    "min": math.log(0.125),
    "sum": math.log(0.0625),
    "count": 2,
    "perplexity": 4,
}


def test_log_probabilities_are_summed_up(ask: Ask) -> None:
    both = {"content": [token for part in LOGPROBS for token in part["content"]]}
    with serve_prepared(completion("ok", logprobs=both)) as server:
        message = ask(chat(server), logprobs=True)
        assert server.body["logprobs"] is True
        assert (
            "logprobs_summary"
            not in ask(openai_tier("other", model="m", base_url=server.url).model).response_metadata
        )
    assert message.response_metadata["logprobs_summary"] == pytest.approx(SUMMARY)
    assert [token["token"] for token in message.response_metadata["logprobs"]["content"]] == ["o", "k"]


def test_log_probabilities_are_summed_up_in_a_stream(stream: Ask) -> None:
    with serve_prepared(events("o", "k", logprobs=LOGPROBS)) as server:
        message = stream(chat(server), logprobs=True)
    assert message.response_metadata["logprobs_summary"] == pytest.approx(SUMMARY)


def test_an_answer_names_the_adapter_and_the_base_model(ask: Ask, stream: Ask) -> None:
    with serve_prepared(completion("ok", model="a@v1"), completion("ok"), events("o", "k")) as server:
        model = chat(server, adapter="a@v1")
        with_adapter = ask(model).response_metadata
        without = ask(model, model="small").response_metadata
        streamed = stream(model).response_metadata
    for metadata in (with_adapter, streamed):
        assert (metadata["adapter"], metadata["base_model"]) == ("a@v1", "small")
        assert metadata["model_provider"] == "vllm"
    assert with_adapter["model_name"] == "a@v1"
    assert not {"adapter", "base_model"} & without.keys()


def test_an_answer_that_was_cut_off_is_one(ask: Ask, stream: Ask) -> None:
    with serve_prepared(completion('{"te', finish="length"), events('{"te', finish="length")) as server:
        for message in (
            ask(chat(server), response_format=FORMAT),
            stream(chat(server), response_format=FORMAT),
        ):
            assert (message.text, message.response_metadata["finish_reason"]) == ('{"te', "length")
            assert message.usage_metadata is not None
    assert [body["response_format"] for _, body in server.requests] == [FORMAT] * 2


def test_tools_that_are_not_strict_go_together_with_a_schema(ask: Ask) -> None:
    lax = {"type": "function", "function": {"name": "mul", "strict": False, "parameters": {}}}
    with serve_prepared(completion("{}")) as server:
        assert ask(chat(server), response_format=FORMAT, tools=[lax]).content == "{}"


def test_a_tool_call_whose_arguments_are_no_object_is_an_invalid_one(ask: Ask) -> None:
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": "add", "arguments": arguments}}
        for number, arguments in enumerate(['"2+3"', '{"a": 2}', "[1]", "{"])
    ]
    with serve_prepared(completion({"content": None, "tool_calls": calls}, finish="tool_calls")) as server:
        message = ask(chat(server))
    assert [(call["id"], call["args"]) for call in message.tool_calls] == [("c1", {"a": 2})]
    invalid = {call["id"]: call["error"] for call in message.invalid_tool_calls}
    assert invalid.keys() == {"c0", "c2", "c3"}
    assert invalid["c0"] == "the arguments are a str, not an object"


def test_a_stream_that_breaks_off_is_an_error(stream: Ask) -> None:
    with (
        serve_prepared(events("Good d", finish=None)) as server,
        pytest.raises(TierError, match="the stream of 'small' broke off"),
    ):
        stream(chat(server))


def test_a_stream_whose_server_is_gone_is_an_error(stream: Ask) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n"
    first = f"data: {json.dumps(events('Good d')[0])}\n\n".encode()
    # Older clients let httpx's own error through.
    with raw_server(head + first) as url, pytest.raises((APIConnectionError, httpx.RemoteProtocolError)):
        stream(chat(url))


def test_a_busy_server_is_an_error_with_its_status(ask: Ask) -> None:
    refusal = (503, {"error": {"message": "Request queue is full.", "code": 503}})
    with serve_prepared(refusal) as server, pytest.raises(Exception, match="queue is full") as caught:
        ask(chat(server))
    assert getattr(caught.value, "status_code", None) == 503


# As a tier


@pytest.mark.parametrize("sync", [True, False])
def test_a_tier_sums_up_log_probabilities_of_any_server(sync: bool) -> None:
    both = {"content": [token for part in LOGPROBS for token in part["content"]]}
    request = Request(messages=[HumanMessage("Hello")], logprobs=True)
    with serve_prepared(completion("ok", logprobs=both)) as server:
        for make in (openai_tier, vllm_tier):
            tier = make("small", model="m", base_url=server.url)
            reply = tier.call(request) if sync else asyncio.run(tier.acall(request))
            assert reply.logprobs == pytest.approx(SUMMARY)
            assert server.body["logprobs"] is True
            assert tier.call(Request(messages=[HumanMessage("Hello")])).text == "ok"
            assert "logprobs" not in server.body


@pytest.mark.parametrize("make", [openai_tier, vllm_tier])
def test_a_tier_sums_up_what_was_cut_off(make: Any) -> None:
    answer = completion('{"te', finish="length", logprobs=LOGPROBS[0])
    with serve_prepared(answer) as server:
        tier = make("small", model="m", base_url=server.url)
        reply = tier.call(Request(messages=[HumanMessage("Hello")], logprobs=True, schema=SCHEMA))
    assert (reply.finish, reply.text) == ("length", '{"te')
    assert reply.logprobs is not None
    assert reply.logprobs["perplexity"] == pytest.approx(2)


def test_a_tier_passes_adapter_priority_and_salt_on() -> None:
    with serve_prepared(completion("ok", model="a@v1")) as server:
        tier = vllm_tier(
            "small", model="m", base_url=server.url, adapter="a@v1", priority=3, cache_salt="pepper"
        )
        reply = tier.call(Request(messages=[HumanMessage("Hello")], schema=SCHEMA))
    body = server.body
    assert (body["model"], body["priority"], body["cache_salt"]) == ("a@v1", 3, "pepper")
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert reply.message.response_metadata["base_model"] == "m"


def test_event_loops_one_after_the_other_are_no_trouble() -> None:
    with serve_prepared(completion("ok")) as server:
        model = chat(server)
        for _ in range(3):
            assert asyncio.run(model.ainvoke("Hello")).content == "ok"
