"""Tiers in a graph whose model calls are streamed, as Studio does with every run."""

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from stellwerk.errors import TierError, TierTimeoutError
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.tiers.vllm_tier import vllm_tier
from tests.tiers.faulty import Does, FaultyServer, always, faulty, first

Ask = Callable[[Tier, Request], Reply]
Make = Callable[..., Tier]

SCHEMA = {"title": "said", "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class State(TypedDict, total=False):
    text: str


def piece(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
    fields = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return f"data: {json.dumps({**fields, 'choices': choices, 'usage': usage})}\n\n"


def delta(text: str, finish: str | None = None) -> str:
    return piece([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}])


def sends(*pieces: str, **fields: Any) -> Does:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    return Does(raw=(head + "".join(pieces)).encode(), **fields)


USAGE = piece([], {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
WHOLE = sends(delta('{"text": '), delta('"ok"}', "stop"), USAGE, "data: [DONE]\n\n")
BROKEN_OFF = sends(delta('{"text": '))


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    def asked(tier: Tier, order: Request) -> Reply:
        replies: list[Reply] = []

        def node(state: State) -> State:
            replies.append(tier.call(order))
            return {}

        async def anode(state: State) -> State:
            replies.append(await tier.acall(order))
            return {}

        graph = StateGraph(State)
        graph.add_node("ask", RunnableLambda(node, anode))
        graph.add_edge(START, "ask")
        compiled = graph.compile()

        async def stream() -> None:
            async for _ in compiled.astream({"text": ""}, stream_mode="messages"):
                pass

        if request.param == "sync":
            list(compiled.stream({"text": ""}, stream_mode="messages"))
        else:
            asyncio.run(stream())
        return replies[0]

    return asked


@pytest.fixture(params=[openai_tier, vllm_tier])
def tier(request: pytest.FixtureRequest) -> Make:
    def make(server: FaultyServer, *, password: str = "", **fields: Any) -> Tier:
        url = server.url.replace("://", f"://me:{password}@") if password else server.url
        made: Tier = request.param("remote", model="m", base_url=url, metrics=False, **fields)
        return made

    return make


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_what_was_streamed_is_billed(ask: Ask, tier: Make, schema: Any) -> None:
    with faulty(always(WHOLE)) as server:
        reply = ask(tier(server), Request(messages=[HumanMessage("Hello")], schema=schema))
    assert server.bodies[0]["stream"]
    assert (reply.text, reply.finish) == ('{"text": "ok"}', "stop")
    assert reply.usage == {"input": 100, "cached": 0, "output": 10}


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_stream_that_breaks_off_is_no_answer_and_is_asked_for_again(
    ask: Ask, tier: Make, schema: Any
) -> None:
    with faulty(first(BROKEN_OFF, then=WHOLE)) as server:
        reply = ask(tier(server), Request(messages=[HumanMessage("Hello")], schema=schema))
    assert reply.text == '{"text": "ok"}'
    (lost,) = reply.tries
    assert lost.billed
    assert "broke off" in lost.error


def test_streams_that_break_off_again_and_again_are_the_servers_failure(ask: Ask, tier: Make) -> None:
    with faulty(always(BROKEN_OFF)) as server, pytest.raises(TierError, match="broke off") as caught:
        ask(tier(server, max_retries=1), Request(messages=[HumanMessage("Hello")]))
    assert server.requests == len(caught.value.tries) == 2


def test_a_stream_that_drips_is_given_up_after_the_timeout(ask: Ask, tier: Make) -> None:
    drips = sends(*(delta("and ") for _ in range(200)), drip=0.02)
    with faulty(always(drips)) as server, pytest.raises(TierTimeoutError):
        ask(tier(server, timeout=0.5), Request(messages=[HumanMessage("Hello")]))


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_call_with_an_idle_limit_is_streamed_and_billed(schema: Any, sync: bool, tier: Make) -> None:
    order = Request(messages=[HumanMessage("Hello")], schema=schema, idle=10)
    with faulty(first(BROKEN_OFF, then=WHOLE)) as server:
        made = tier(server)
        reply = made.call(order) if sync else asyncio.run(made.acall(order))
    assert server.bodies[0]["stream"]
    assert (reply.text, reply.finish, len(reply.tries)) == ('{"text": "ok"}', "stop", 1)
    assert reply.usage == {"input": 100, "cached": 0, "output": 10}


def test_a_server_that_says_nothing_is_given_up_after_the_idle_limit(sync: bool, tier: Make) -> None:
    order = Request(messages=[HumanMessage("Hello")], idle=0.3)
    with faulty(always(Does(hang=True))) as server:
        made = tier(server, timeout=30)
        with pytest.raises(TierTimeoutError, match=r"nothing came for 0\.3 s"):
            _ = made.call(order) if sync else asyncio.run(made.acall(order))


def test_a_broken_stream_does_not_tell_what_is_secret_in_the_url(ask: Ask, tier: Make) -> None:
    with faulty(always(BROKEN_OFF)) as server:
        made = tier(server, password="sesame-open", max_retries=0)
        with pytest.raises(TierError, match="broke off") as caught:
            ask(made, Request(messages=[HumanMessage("Hello")]))
    assert "sesame-open" not in "".join(traceback.format_exception(caught.value))


def test_half_a_tool_call_is_none(ask: Ask, tier: Make) -> None:
    pieces = [
        piece([{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}, "finish_reason": finish}])
        for call, finish in (
            ({"index": 0, "id": "1", "type": "function", "function": {"name": "pay", "arguments": ""}}, None),
            ({"index": 0, "function": {"arguments": '{"dollars": 10'}}, "length"),  # of 1000
        )
    ]
    tool = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}
    with faulty(always(sends(*pieces, USAGE, "data: [DONE]\n\n"))) as server:
        reply = ask(tier(server), Request(messages=[HumanMessage("Pay")], tools=(tool,)))
    assert reply.finish == "length"
    assert reply.message.tool_calls == []
    assert [call["name"] for call in reply.message.invalid_tool_calls] == ["pay"]
