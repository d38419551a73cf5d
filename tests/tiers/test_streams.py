import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from stellwerk.errors import TierError, TierTimeoutError
from stellwerk.tiers.replica import Replica
from stellwerk.tiers.streams import as_chunk, whole
from stellwerk.tiers.tier import Reply, Request, Tier
from tests.chat.models import Streaming, streaming
from tests.fakes import Scripted, always, wants

Collect = Callable[[Tier], list[AIMessageChunk | Reply]]
REQUEST = Request(messages=[HumanMessage("Hello")])


@pytest.fixture
def collect(sync: bool) -> Collect:
    async def collected(tier: Tier) -> list[AIMessageChunk | Reply]:
        return [each async for each in tier.astream(REQUEST)]

    return (lambda tier: list(tier.stream(REQUEST))) if sync else lambda tier: asyncio.run(collected(tier))


def test_chunks_come_first_and_then_the_reply(collect: Collect) -> None:
    *chunks, reply = collect(Tier(name="small", model=streaming("one ", "two")))
    assert [chunk.content for chunk in chunks if isinstance(chunk, AIMessageChunk) and chunk.content] == [
        "one ",
        "two",
    ]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.usage, reply.finish) == (
        "one two",
        {"input": 7, "cached": 0, "output": 2},
        "stop",
    )
    assert type(reply.message) is AIMessage


def test_a_model_that_does_not_stream_gives_one_chunk(collect: Collect) -> None:
    chunk, reply = collect(Tier(name="small", model=Scripted(reply=always("whole"))))
    assert isinstance(chunk, AIMessageChunk)
    assert isinstance(reply, Reply)
    assert (chunk.content, reply.text) == ("whole", "whole")


def test_calls_of_tools_survive_being_a_chunk() -> None:
    message = wants(("add", {"a": 1}), ("add", {"a": 2}))
    assert whole([as_chunk(message)]).tool_calls == message.tool_calls


def test_a_place_is_held_until_the_last_chunk(collect: Collect) -> None:
    tier = Tier(name="small", model=streaming("one", "two"), max_concurrency=1)
    stream: Any = tier.stream(REQUEST)
    next(stream)
    assert tier.gate.held == 1
    stream.close()
    assert tier.gate.held == 0
    collect(tier)
    collect(tier)  # it would wait for ever if a place were lost
    assert tier.gate.held == 0


def test_an_async_stream_that_is_left_gives_its_place_back() -> None:
    tier = Tier(name="small", model=streaming("one", "two", "three"), max_concurrency=1)

    async def leave() -> None:
        stream: Any = tier.astream(REQUEST)
        await anext(stream)
        assert tier.gate.held == 1
        await stream.aclose()

    asyncio.run(leave())
    assert tier.gate.held == 0


def test_what_fails_before_its_first_chunk_is_tried_on_another_server(collect: Collect) -> None:
    asked: list[int] = []

    class Flaky(Streaming):
        number: int

        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            asked.append(self.number)
            if len(asked) == 1:
                raise ConnectionError("reset")
            yield from super()._stream(*args, **kwargs)

    models = [Flaky(number=number, reply=always(""), words=["from ", "another"]) for number in (0, 1)]
    replicas = tuple(Replica(name=str(model.number), model=model) for model in models)
    *_, reply = collect(Tier(name="small", model=models[0], replicas=replicas, max_retries=2))
    assert isinstance(reply, Reply)
    assert (reply.text, len(reply.tries), sorted(asked)) == ("from another", 1, [0, 1])


def test_what_breaks_off_after_its_first_chunk_is_an_error_and_is_billed(collect: Collect) -> None:
    small = streaming("one", ConnectionError("reset"))
    tier = Tier(name="small", model=small, max_retries=2)
    with pytest.raises(TierError, match="broke off after 1 chunks") as raised:
        collect(tier)
    assert (small.opened, len(raised.value.tries), tier.gate.held) == (1, 1, 0)


def test_a_stream_that_takes_too_long_is_given_up(collect: Collect) -> None:
    class Slow(Streaming):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            for chunk in super()._stream(*args, **kwargs):
                time.sleep(0.05)
                yield chunk

        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for chunk in super()._stream(*args, **kwargs):
                await asyncio.sleep(0.05)
                yield chunk

    slow = Slow(reply=always(""), words=["word "] * 100)
    tier = Tier(name="small", model=slow, timeout=0.2)
    with pytest.raises(TierTimeoutError, match="tier 'small' gave no answer"):
        collect(tier)
    assert tier.gate.held == 0


def test_only_the_time_of_the_model_counts() -> None:
    tier = Tier(name="small", model=streaming("one ", "two"), timeout=0.3)
    stream = tier.stream(REQUEST)
    next(stream)
    time.sleep(0.4)  # of the reader
    *_, reply = stream
    assert isinstance(reply, Reply)
    assert reply.text == "one two"
