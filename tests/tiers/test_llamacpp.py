import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool

from stellwerk.errors import ContextOverflowError, ModelFileError, StellwerkError, TierError
from stellwerk.tiers.embedded import embedded_ladder
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.model_files import model_path
from stellwerk.tiers.tier import Request, Tier

WINDOW = 1024
SCHEMA: dict[str, Any] = {
    "title": "reading",
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "degrees": {"type": "integer"},
        "dry": {"type": "boolean"},
    },
    "required": ["city", "degrees", "dry"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "reading", "schema": SCHEMA, "strict": True}}
QUESTION = "It was 21 degrees and dry in Vienna today. Give the reading."
PAGE = "The company sold bread, milk and honey in four towns and nothing else. " * 6


def smallest() -> Path:
    try:
        return model_path("smollm2-135m")
    except StellwerkError as error:
        pytest.skip(f"the model is not here: {error}")


@pytest.fixture(scope="module")
def model() -> ChatLlamaCpp:
    return ChatLlamaCpp(path=smallest(), model_name="smollm2-135m", context_window=WINDOW, threads=2)


@pytest.mark.model
def test_an_answer_follows_the_schema_with_compact_separators(model: ChatLlamaCpp) -> None:
    answer = model.invoke(QUESTION, response_format=FORMAT, max_tokens=60)
    value = json.loads(answer.text)
    assert value.keys() == {"city", "degrees", "dry"}
    assert isinstance(value["degrees"], int)
    assert answer.text == json.dumps(value, ensure_ascii=False)
    assert answer.response_metadata["finish_reason"] == "stop"


@pytest.mark.model
async def test_the_async_answer_is_the_same(model: ChatLlamaCpp) -> None:
    asked: Any = {"response_format": FORMAT, "max_tokens": 60}
    assert (await model.ainvoke(QUESTION, **asked)).text == model.invoke(QUESTION, **asked).text


@pytest.mark.model
def test_a_page_is_read_once(model: ChatLlamaCpp) -> None:
    usages = []
    for question in ("What was sold?", "Where was it sold?"):
        answer = model.invoke(f"{PAGE}\n\n{question}", max_tokens=4)
        assert answer.usage_metadata is not None
        usages.append(answer.usage_metadata)
    first, second = usages
    for usage in usages:
        assert usage["input_tokens"] > 80
        assert 1 <= usage["output_tokens"] <= 4
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    cached = [usage["input_token_details"]["cache_read"] for usage in usages]
    assert cached[0] < 50
    assert first["input_tokens"] - 20 < cached[1] <= second["input_tokens"]


@pytest.mark.model
def test_an_answer_that_is_cut_off_says_so(model: ChatLlamaCpp) -> None:
    answer = model.invoke("Count from one to a hundred.", max_tokens=5)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 5


@pytest.mark.model
def test_a_stop_word_ends_the_answer(model: ChatLlamaCpp) -> None:
    whole = model.invoke("Say: one two three", max_tokens=12).text
    word = whole.split()[1]
    assert model.invoke("Say: one two three", max_tokens=12, stop=[word]).text == whole.partition(word)[0]


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


@pytest.mark.model
async def test_tokens_are_streamed_and_add_up_to_the_answer(model: ChatLlamaCpp) -> None:
    plain = model.invoke("Name three colours.", max_tokens=12)
    streams = [
        list(model.stream("Name three colours.", max_tokens=12)),
        [chunk async for chunk in model.astream("Name three colours.", max_tokens=12)],
    ]
    for chunks in streams:
        assert len([chunk for chunk in chunks if chunk.text]) > 5
        total = whole(chunks)
        assert total.text == plain.text
        assert total.response_metadata["finish_reason"] == plain.response_metadata["finish_reason"]
        assert total.usage_metadata is not None
        assert plain.usage_metadata is not None
        assert total.usage_metadata["output_tokens"] == plain.usage_metadata["output_tokens"]


@pytest.mark.model
def test_a_stream_that_nobody_reads_on_ends_the_work(model: ChatLlamaCpp) -> None:
    stream = model.stream("Tell a long story about a fox.", max_tokens=900)
    for _ in zip(range(3), stream, strict=False):
        pass
    started = time.perf_counter()
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("llama.cpp")]
    model.invoke("Hello", max_tokens=1)
    assert time.perf_counter() - started < 3  # 900 tokens take more than twice as long


@pytest.mark.model
async def test_a_prompt_past_the_window_is_refused_with_the_numbers(model: ChatLlamaCpp) -> None:
    long = PAGE * 16
    message = r"the prompt has [12],\d\d\d tokens; smollm2-135m holds 1,024"
    with pytest.raises(ContextOverflowError, match=message):
        model.invoke(long)
    with pytest.raises(ContextOverflowError, match=message):
        await model.ainvoke(long)
    with pytest.raises(ContextOverflowError, match=message):
        list(model.stream(long))
    tier = Tier(name="small", model=model)
    with pytest.raises(ContextOverflowError, match=message):
        tier.call(Request(messages=[HumanMessage(long)]))
    assert model.invoke("Hello", max_tokens=1).usage_metadata is not None


@pytest.mark.model
@pytest.mark.parametrize(
    "field", [{"type": "array", "uniqueItems": True}, {"type": "string", "format": "odd"}]
)
def test_a_keyword_that_llama_cpp_does_not_know_leaves_the_rest_of_the_schema(
    model: ChatLlamaCpp, field: dict[str, Any]
) -> None:
    schema = {"type": "object", "properties": {"figures": field}, "required": ["figures"]}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert model.invoke("Hello", response_format=asked, max_tokens=5).text.startswith('{"figures":')


@tool
def add(first: int, second: int) -> int:
    """Add two whole numbers."""
    return first + second


@pytest.mark.model
async def test_tools_may_be_bound(model: ChatLlamaCpp) -> None:
    for choice in (None, "auto", "any", "add"):
        bound = model.bind_tools([add], tool_choice=choice)
        assert isinstance(bound.invoke("What is 3 plus 4?", max_tokens=4), AIMessage)
    assert isinstance(await model.bind_tools([add]).ainvoke("What is 3 plus 4?", max_tokens=4), AIMessage)


@pytest.mark.model
def test_threads_and_loops_may_ask_at_once(model: ChatLlamaCpp) -> None:
    alone = model.invoke("Name a colour.", max_tokens=4).text
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(model.invoke("Name a colour.", max_tokens=4).text))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()

    async def loop() -> list[AIMessage]:
        return await asyncio.gather(*(model.ainvoke("Name a colour.", max_tokens=4) for _ in range(2)))

    said += [message.text for message in asyncio.run(loop())]
    for thread in threads:
        thread.join(30)
    assert said == [alone] * 4


# What needs no model


class Server:
    """Answers as llama.cpp does where a model calls a tool."""

    def __init__(self, arguments: str) -> None:
        self.body: dict[str, Any] = {}
        self._call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": arguments}}

    def handle_chat_completions(self, body: dict[str, Any], take: Any = None) -> dict[str, Any]:
        self.body = body
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        if take is None:
            message = {"role": "assistant", "content": None, "tool_calls": [self._call]}
            return {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}
        delta = {"tool_calls": [{**self._call, "index": 0}]}
        take({"choices": [{"delta": delta, "finish_reason": None}]})
        take({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
        take({"choices": [], "usage": usage})
        return {}


def served(arguments: str) -> tuple[Server, ChatLlamaCpp]:
    server, model = Server(arguments), ChatLlamaCpp(path=Path("unused"))
    model._server = server
    return server, model


async def test_a_call_of_a_tool_arrives_whole_or_streamed() -> None:
    server, model = served('{"first": 3, "second": 4}')
    bound = model.bind_tools([add], tool_choice="any")
    streamed = [chunk async for chunk in bound.astream("3 + 4")]
    for message in (bound.invoke("3 + 4"), await bound.ainvoke("3 + 4"), whole(streamed)):  # type: ignore[arg-type]
        assert message.tool_calls == [
            {"name": "add", "args": {"first": 3, "second": 4}, "id": "1", "type": "tool_call"}
        ]
        assert message.response_metadata["finish_reason"] == "tool_calls"
        assert message.usage_metadata is not None
        assert message.usage_metadata["total_tokens"] == 14
    assert server.body["tool_choice"] == "required"
    assert server.body["tools"][0]["function"]["name"] == "add"
    model.bind_tools([add], tool_choice="add").invoke("3 + 4")
    assert server.body["tool_choice"] == {"type": "function", "function": {"name": "add"}}


def test_a_call_of_a_tool_that_is_not_json_is_kept_as_invalid() -> None:
    message = served("{first: 3")[1].bind_tools([add]).invoke("3 + 4")
    assert message.tool_calls == []
    assert [(call["name"], call["args"]) for call in message.invalid_tool_calls] == [("add", "{first: 3")]


def test_what_llama_cpp_refuses_is_an_error_with_its_words() -> None:
    class Refusing(Server):
        def handle_chat_completions(self, body: dict[str, Any], take: Any = None) -> dict[str, Any]:
            answer = {"error": {"code": 400, "type": "invalid_request_error", "message": "no such thing"}}
            return answer if take is None else take(answer) or {}

    model = ChatLlamaCpp(path=Path("unused"), model_name="tiny")
    model._server = Refusing("")
    for call in (lambda: model.invoke("Hello"), lambda: list(model.stream("Hello"))):
        with pytest.raises(TierError, match=r"llama\.cpp refused the call to tiny: no such thing"):
            call()


async def test_a_file_that_is_not_there_is_named_at_the_first_call(tmp_path: Path) -> None:
    model = ChatLlamaCpp(path=tmp_path / "gone.gguf")
    for call in (model.load, lambda: model.invoke("Hello"), lambda: list(model.stream("Hello"))):
        with pytest.raises(
            ModelFileError, match=r"no model file at .*gone\.gguf; run: stellwerk models pull"
        ):
            call()
    with pytest.raises(ModelFileError, match=r"gone\.gguf"):
        await model.ainvoke("Hello")


def damaged(folder: Path, content: bytes) -> ChatLlamaCpp:
    path = folder / "damaged.gguf"
    path.write_bytes(content)
    return ChatLlamaCpp(path=path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"this is no model" * 100])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"cannot open .*damaged\.gguf"):
        damaged(tmp_path, content).load()


@pytest.mark.model
def test_half_a_model_is_named(tmp_path: Path) -> None:
    whole = smallest().read_bytes()
    with pytest.raises(ModelFileError, match=r"cannot open .*damaged\.gguf"):
        damaged(tmp_path, whole[: len(whole) // 2]).load()


def test_a_tier_whose_file_is_missing_is_a_tier_that_gives_no_answer(tmp_path: Path) -> None:
    tier = Tier(name="small", model=ChatLlamaCpp(path=tmp_path / "gone.gguf"))
    with pytest.raises(TierError, match=r"tier 'small' gave no answer: ModelFileError: .*gone\.gguf"):
        tier.call(Request(messages=[HumanMessage("Hello")]))


def test_the_embedded_ladder_opens_no_file_until_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STELLWERK_MODELS_DIR", str(tmp_path))
    ladder = embedded_ladder()
    assert ladder.names == ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
    prices = [tier.price.output for tier in ladder if tier.price is not None]
    assert prices == sorted(prices)
    assert len(prices) == 3
    assert len({id(tier.gate) for tier in ladder}) == 1
    with pytest.raises(TierError, match="stellwerk models pull smollm2-135m"):
        ladder.smallest.call(Request(messages=[HumanMessage("Hello")]))
