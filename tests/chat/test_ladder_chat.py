import asyncio
import json
import operator
import threading
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
)
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel, Field, SecretStr, ValidationError
from typing_extensions import TypedDict

from stellwerk import Budget, ConfigurationError, Fixed, LadderChatModel, TierError, openai_tier
from stellwerk.chat.record import Routed
from stellwerk.decision import Decision
from stellwerk.tiers.ladder import Ladder
from tests.chat.models import Chooses, Sink, climbs, last, streaming
from tests.fake_openai import RefusalError, serve_openai
from tests.fakes import Messages, Reply, Scripted, always, broken, in_turn, ladder, not_asked, wants
from tests.tiers.openai_server import completion, serve_prepared

Ask = Callable[..., Any]
Stream = Callable[..., list[AIMessageChunk]]


@pytest.fixture
def ask(sync: bool) -> Ask:
    """Ask for an answer in one piece."""
    if sync:
        return lambda asked, prompt="Hello", **options: asked.invoke(prompt, **options)
    return lambda asked, prompt="Hello", **options: asyncio.run(asked.ainvoke(prompt, **options))


@pytest.fixture
def stream(sync: bool) -> Stream:
    """Ask for a stream."""

    async def collect(model: Any, options: dict[str, Any]) -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream("Hello", **options)]

    if sync:
        return lambda asked, **options: list(asked.stream("Hello", **options))
    return lambda asked, **options: asyncio.run(collect(asked, options))


def over(*models: BaseChatModel | Reply, **fields: Any) -> LadderChatModel:
    return LadderChatModel(ladder=ladder(*models), **fields)


def record(message: AIMessage) -> Routed:
    found: Routed = message.response_metadata["stellwerk"]
    return found


def reasons(message: AIMessage) -> list[str | None]:
    return [attempt["verdict"].get("reason") for attempt in record(message)["attempts"]]


def added(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return reduce(operator.add, chunks)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def total() -> AIMessage:
    return wants(("add", {"a": 1, "b": 2}))


def sums(messages: Messages) -> AIMessage:
    return total()


class Offer(BaseModel):
    euros: float = Field(gt=0)
    pieces: int


OFFER = json.dumps({"euros": 2.5, "pieces": 3})

# Which tier


def test_a_plain_call_is_one_call_of_the_tier_that_the_router_picks(ask: Ask) -> None:
    model = over(always("from small"), not_asked)
    message = ask(model)
    assert message.content == "from small"
    told = record(message)
    assert (told["tier"], told["decision"]["router"], told["verdict"]) == (
        "small",
        "smallest-first",
        {"accepted": True},
    )
    assert ask(over(not_asked, always("from large"), router=Fixed("large"))).content == "from large"


def test_a_router_sees_a_call_as_a_subtask_with_a_worker_and_a_brief() -> None:
    router = Chooses(climbs("small"))
    model = over(always("3"), not_asked, router=router)
    model.bind_tools([add]).invoke(
        [
            SystemMessage("You add."),
            HumanMessage("Earlier question"),
            AIMessage("Earlier answer"),
            HumanMessage("Add 1 and 2"),
            total(),
            ToolMessage("3", name="add", tool_call_id="id-0"),
        ]
    )
    ((subtask, worker, brief),) = router.asked
    assert (subtask.instruction, subtask.worker, worker.name) == ("Add 1 and 2", "call_tools", "call_tools")
    assert (worker.prompt, [tool.name for tool in worker.tools]) == ("You add.", ["add"])
    assert (brief.position, brief.size, dict(brief.inputs)) == (1, 2, {"add-0": "3"})
    assert [document["text"] for document in brief.documents] == ["Earlier question\n\nEarlier answer"]


@pytest.mark.parametrize(
    ("make", "worker"),
    [
        (lambda model: model, "chat"),
        (lambda model: model.with_structured_output(Offer), "offer"),
        (lambda model: model.model_copy(update={"worker": "mine"}), "mine"),
    ],
)
def test_the_worker_has_a_name_of_the_call_or_of_the_user(make: Any, worker: str) -> None:
    router = Chooses(climbs("small"))
    make(over(always(OFFER), not_asked, router=router)).invoke("Hello")
    assert router.asked[0][1].name == worker


def test_equal_calls_have_equal_worker_versions_and_others_have_not() -> None:
    router = Chooses(climbs("small"))
    model = over(always("3"), not_asked, router=router)
    model.bind_tools([add]).invoke("One")
    model.bind_tools([add]).invoke("Two")
    model.invoke("Three")
    first, second, third = (worker.version for _, worker, _ in router.asked)
    assert first == second != third


def test_a_call_can_be_pinned_to_a_tier(ask: Ask) -> None:
    model = over(not_asked, always("from large"))
    assert record(ask(model, model="large"))["tier"] == "large"
    assert model.bind(model="large").invoke("Hello").content == "from large"
    with pytest.raises(ConfigurationError, match=r"there is no tier 'lage'; did you mean 'large'"):
        ask(model, model="lage")


# Broken answers

INVALID = InvalidToolCall(name="add", args="{a", id="1", error=None, type="invalid_tool_call")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (wants(("add", {"a": 1})), "schema"),
        (wants(("add", {"a": "one", "b": 2})), "schema"),
        (wants(("subtract", {"a": 1, "b": 2})), "schema"),
        (
            AIMessage("", invalid_tool_calls=[{"name": "add", "args": "{a", "id": "1", "error": None}]),
            "not_json",
        ),
        ("", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        (AIMessage("Well, the s", response_metadata={"finish_reason": "length"}), "length"),
        (AIMessage("and so on " * 30, response_metadata={"finish_reason": "length"}), "repetition"),
        (AIMessage("no", additional_kwargs={"refusal": "not that"}), "refusal"),
    ],
)
def test_a_broken_answer_to_a_call_with_tools_goes_up(ask: Ask, said: Any, reason: str) -> None:
    message = ask(over(always(said), sums).bind_tools([add]))
    assert message.tool_calls[0]["args"] == {"a": 1, "b": 2}
    assert reasons(message) == [reason, None]
    assert record(message)["tier"] == "large"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Three pieces.", "not_json"),
        (json.dumps({"euros": 2.5}), "schema"),
        (json.dumps({"euros": 2.5, "pieces": "three"}), "schema"),
        (json.dumps({"euros": -1.0, "pieces": 3}), "check"),  # which only the class knows of
        (json.dumps(Offer.model_json_schema()), "schema_echo"),
        ("I cannot help with that.", "refusal"),
    ],
)
def test_an_answer_that_does_not_follow_its_schema_goes_up(ask: Ask, said: str, reason: str) -> None:
    structured = over(always(said), always(OFFER)).with_structured_output(Offer, include_raw=True)
    given: Any = ask(structured)
    assert given["parsed"] == Offer(euros=2.5, pieces=3)
    assert given["parsing_error"] is None
    assert reasons(given["raw"]) == [reason, None]


def test_a_model_that_makes_the_same_call_over_and_over_goes_up() -> None:
    given = ToolMessage("3", name="add", tool_call_id="id-0")
    twice = [HumanMessage("Add"), total(), given, total(), given]
    model = over(sums, always("It is 3.")).bind_tools([add])
    assert model.invoke(twice[:3]).tool_calls
    message = model.invoke(twice)
    assert (message.content, reasons(message)) == ("It is 3.", ["repetition", None])


def test_a_plain_answer_is_not_judged(ask: Ask) -> None:
    refusal = "I'm sorry, but I can't help with that."
    assert ask(over(always(refusal), not_asked)).content == refusal


def test_checks_of_ones_own_apply_to_plain_calls_too(ask: Ask) -> None:
    def is_short(reply: AIMessage) -> str | None:
        return None if len(reply.text) < 10 else "too long"

    message = ask(over(always("far too long"), always("short"), checks=(is_short,)))
    assert message.content == "short"
    assert record(message)["attempts"][0]["verdict"] == {
        "accepted": False,
        "reason": "check",
        "detail": "is_short: too long",
    }


def test_without_checks_there_is_one_call(ask: Ask) -> None:
    message = ask(over(always(""), not_asked, check_replies=False).bind_tools([add]))
    assert (message.content, record(message)["verdict"]) == ("", {"accepted": True})


def test_calls_written_as_text_are_calls(ask: Ask) -> None:
    written = json.dumps({"name": "add", "arguments": {"a": 1, "b": 2}})
    message = ask(over(always(written), not_asked).bind_tools([add]))
    assert (message.content, message.tool_calls[0]["args"]) == ("", {"a": 1, "b": 2})


def test_json_with_words_around_it_is_taken_out(ask: Ask) -> None:
    said = f"Here it is:\n```json\n{OFFER}\n```"
    structured = over(always(said), not_asked).with_structured_output(Offer)
    assert ask(structured) == Offer(euros=2.5, pieces=3)


def test_a_forced_tool_has_to_be_called() -> None:
    model = over(always("No need."), sums)
    message = model.bind_tools([add], tool_choice="any").invoke("Add 1 and 2")
    assert (reasons(message), len(message.tool_calls)) == (["schema", None], 1)
    with pytest.raises(ConfigurationError, match="tool_choice is 'mul'; the tools are: add"):
        model.bind_tools([add], tool_choice="mul")


def test_where_no_attempt_is_sound_the_last_is_served_and_says_so(ask: Ask) -> None:
    bad = wants(("add", {"a": "x", "b": 1}))
    message = ask(over(always(""), always(bad)).bind_tools([add]))
    assert message.tool_calls[0]["args"] == {"a": "x", "b": 1}
    assert record(message)["verdict"]["accepted"] is False


# Tiers that do not answer, and budgets


def test_a_tier_that_gives_no_answer_is_left_for_the_next(ask: Ask) -> None:
    message = ask(over(broken, always("from large")))
    assert (message.content, reasons(message)) == ("from large", ["tier", None])


def test_if_no_tier_answers_the_last_error_is_raised(ask: Ask) -> None:
    with pytest.raises(TierError, match="tier 'large' gave no answer"):
        ask(over(broken, broken))


def test_an_error_without_words_is_not_called_a_timeout() -> None:
    def silent(messages: Messages) -> str:
        raise IndexError

    with pytest.raises(TierError, match="IndexError: no reason given"):
        LadderChatModel(ladder=ladder(silent)).invoke("q")


def test_tiers_without_a_ladder_are_refused_at_once() -> None:
    tiers: Any = list(ladder(always("a")))
    with pytest.raises(ValidationError, match="instance of Ladder"):
        LadderChatModel(ladder=tiers)


def test_a_budget_ends_the_climb(ask: Ask) -> None:
    message = ask(over(always(""), not_asked, budget=Budget(attempts=1)).bind_tools([add]))
    assert reasons(message) == ["empty"]
    # The large tier's answer is expected to cost far more than that.
    message = ask(over(always(""), not_asked, budget=Budget(usd=1e-6)).bind_tools([add]))
    assert reasons(message) == ["empty"]


def test_a_router_that_allows_no_tier_is_an_error(ask: Ask) -> None:
    with pytest.raises(TierError, match="router 'chooses' allows no tier for the call: so chosen"):
        ask(over(not_asked, not_asked, router=Chooses(lambda brief, history: None)))


def test_a_cascading_router_is_asked_after_an_accepted_answer_and_names_what_is_served(ask: Ask) -> None:
    router = Chooses(climbs("small", "large"), cascades=True)
    message = ask(over(always("A"), always("B"), router=router))
    assert (message.content, record(message)["tier"]) == ("B", "large")
    router = Chooses(climbs("small", "large"), cascades=True, serve=0)
    message = ask(over(always("A"), always("B"), router=router))
    assert (message.content, record(message)["tier"]) == ("A", "small")
    digests = [attempt["answer"] for attempt in record(message)["attempts"]]
    assert digests[0] != digests[1]
    router = Chooses(climbs("small", "large"), cascades=True, serve=-1)
    message = ask(over(always("A"), always("A"), router=router))
    assert record(message)["verdict"] == {"accepted": False, "reason": "doubted", "detail": "so chosen"}


# What it took


def test_where_no_more_can_be_paid_for_the_router_names_what_is_served(ask: Ask) -> None:
    class Upwards:
        cascades = True

        def decide(
            self, subtask: Any, worker: Any, ladder: Any, budget: Budget, history: Sequence[Any]
        ) -> Decision:
            more = budget.allows(len(history), len(ladder))
            tier, serve = (ladder.names[len(history)], None) if more else (None, 0)
            return Decision(tier=tier, router="upwards", version="1", why="so", serve=serve)

    one = record(ask(over(always("one"), not_asked, router=Fixed("small"))))["usd"]
    assert one
    tiers = (always("one"), always("two"), not_asked)
    message = ask(over(*tiers, router=Upwards(), budget=Budget(usd=30 * one)))
    assert [attempt["tier"] for attempt in record(message)["attempts"]] == ["small", "medium"]
    assert message.text == "one"


def test_usage_is_that_of_all_attempts(ask: Ask) -> None:
    counted = UsageMetadataCallbackHandler()
    message = ask(over(always(""), sums).bind_tools([add]), "x" * 40, config={"callbacks": [counted]})
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 20
    small, large = record(message)["attempts"]
    assert [attempt["calls"][0]["usage"]["input"] for attempt in (small, large)] == [10, 10]
    assert record(message)["usd"] == pytest.approx((10 * 1 + 10 * 10) / 1e6)


def test_what_a_call_costs_is_not_known_with_a_tier_without_a_price() -> None:
    tiers = list(ladder(always("A"), always("B")))
    object.__setattr__(tiers[0], "price", None)
    assert record(LadderChatModel(ladder=Ladder(tiers)).invoke("Hello"))["usd"] is None


def test_options_reach_the_tier_as_they_are(ask: Ask) -> None:
    small = Scripted(reply=always("ok"))
    model = over(small, not_asked, temperature=0.5, max_tokens=9, stop=["END"])
    ask(model)
    ask(model, stop=["."], max_tokens=3, top_p=0.1)
    first, second = small.options
    assert (first["temperature"], first["max_tokens"]) == (0.5, 9)
    assert (second["max_tokens"], second["top_p"]) == (3, 0.1)
    with pytest.raises(ValidationError, match="rooter"):
        over(always("ok"), not_asked, rooter=Fixed("small"))


def test_each_attempt_is_traced(ask: Ask) -> None:
    sink = Sink()
    message = ask(over(always(""), sums, traces=sink).bind_tools([add]))
    small, large = sink.attempts
    assert (small.tier, small.verdict["accepted"], small.answer, small.number) == ("small", False, None, 1)
    assert (large.tier, large.number, large.value) == ("large", 2, {"calls": [["add", {"a": 1, "b": 2}]]})
    assert small.run_id == large.run_id
    assert (small.subtask, small.worker) == (large.subtask, "call_tools")
    assert record(message)["trace_id"] == large.trace_id != small.trace_id
    assert [each.text for each in large.messages] == ["Hello"]
    assert large.usd is not None
    assert large.context is not None
    assert (large.context["worker"], large.context["instruction"]) == ("call_tools", "Hello")
    assert large.context["tools"] == ["add"]
    assert small.episode == large.episode not in ("", small.trace_id, large.trace_id)


def test_a_sink_that_fails_does_not_fail_the_call(ask: Ask) -> None:
    class Broken(Sink):
        def attempt(self, trace: Any, /) -> None:
            raise OSError("disk full")

    assert ask(over(always("ok"), not_asked, traces=Broken())).content == "ok"


# Streams


def test_a_plain_answer_is_streamed_as_it_comes(stream: Stream) -> None:
    chunks = stream(over(streaming("one ", "two ", "three"), not_asked))
    assert [chunk.content for chunk in chunks if chunk.content] == ["one ", "two ", "three"]
    whole = added(chunks)
    assert record(whole)["tier"] == "small"
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (7, 3)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_that_fails_before_its_first_chunk_goes_on_at_the_next_tier(stream: Stream) -> None:
    chunks = stream(over(streaming(ConnectionError("refused")), streaming("from ", "large")))
    assert "".join(str(chunk.content) for chunk in chunks) == "from large"
    assert record(added(chunks))["tier"] == "large"


def test_a_stream_that_breaks_off_is_an_error_and_not_begun_anew(stream: Stream) -> None:
    small = streaming("one ", ConnectionError("reset"))
    with pytest.raises(TierError, match="tier 'small' gave no answer: ConnectionError: reset"):
        stream(over(small, not_asked))
    assert (small.opened, small.closed) == (1, 1)


@pytest.mark.parametrize("fields", [{}, {"router": Chooses(climbs("small"), cascades=True)}])
def test_what_has_to_be_seen_as_a_whole_comes_in_one_piece(fields: Any, stream: Stream) -> None:
    model = over(streaming("one ", "two"), not_asked, **fields)
    bound = model if fields else model.bind_tools([add])
    assert [chunk.content for chunk in stream(bound) if chunk.content] == ["one two"]


def test_a_broken_answer_is_never_streamed(stream: Stream) -> None:
    chunks = stream(over(always("I'm sorry, but I can't help."), sums).bind_tools([add]))
    assert added(chunks).tool_calls[0]["args"] == {"a": 1, "b": 2}
    assert not any(chunk.content for chunk in chunks)


def test_without_checks_an_answer_with_tools_is_streamed_as_it_comes(stream: Stream) -> None:
    model = over(streaming("one ", "two"), not_asked, check_replies=False).bind_tools([add])
    assert [chunk.content for chunk in stream(model) if chunk.content] == ["one ", "two"]


def test_a_stream_that_nobody_reads_to_its_end_gives_its_place_back() -> None:
    small = streaming("one ", "two ", "three")
    model = over(small, not_asked)
    tier = model.ladder.smallest
    chunks = model.stream("Hello")
    assert next(chunks).content == "one "
    assert tier.gate.held == 1
    chunks.close()  # type: ignore[attr-defined]
    assert (tier.gate.held, small.closed) == (0, 1)


# Inside graphs, threads and event loops


def graph(model: Any) -> Any:
    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def anode(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    made: Any = StateGraph(MessagesState)
    made.add_node("model", RunnableLambda(node, anode))
    made.add_edge(START, "model")
    made.add_edge("model", END)
    return made.compile()


def test_in_a_graph_tokens_are_streamed_and_counted_once(sync: bool) -> None:
    counted = UsageMetadataCallbackHandler()
    small = streaming("one ", "two")
    compiled = graph(over(small, not_asked))
    config = {"callbacks": [counted]}

    async def collect() -> list[Any]:
        given = {"messages": [("human", "Hello")]}
        return [each async for each in compiled.astream(given, config, stream_mode="messages")]

    if sync:
        told = list(compiled.stream({"messages": [("human", "Hello")]}, config, stream_mode="messages"))
    else:
        told = asyncio.run(collect())
    assert [message.content for message, _ in told if message.content] == ["one ", "two"]
    assert len({message.id for message, _ in told}) == 1
    assert small.opened == 1


def test_an_attempt_that_was_rejected_is_not_seen_in_a_graphs_stream() -> None:
    compiled = graph(over(always(""), sums).bind_tools([add]))
    told = list(compiled.stream({"messages": [("human", "Hello")]}, stream_mode="messages"))
    assert sum(bool(message.tool_calls) for message, _ in told) == 1


def test_the_thread_of_a_graph_is_the_flow_and_is_traced() -> None:
    sink = Sink()
    graph(over(always("ok"), not_asked, traces=sink)).invoke(
        {"messages": [("human", "Hello")]}, {"configurable": {"thread_id": "t1"}}
    )
    assert sink.attempts[0].thread_id == "t1"


def test_calls_at_once_do_not_mix(sync: bool) -> None:
    here = threading.Barrier(8, timeout=20)

    def small(messages: Any) -> str:
        if sync:
            here.wait()
        return "" if int(last(messages)) % 2 else f"small {last(messages)}"

    model = over(small, lambda messages: f"large {last(messages)}").bind_tools([add])
    prompts: list[Any] = [str(number) for number in range(8)]
    config: Any = {"max_concurrency": 8}
    messages = model.batch(prompts, config) if sync else asyncio.run(model.abatch(prompts, config))
    assert [message.content for message in messages] == [
        f"{'large' if number % 2 else 'small'} {number}" for number in range(8)
    ]
    assert [len(record(message)["attempts"]) for message in messages] == [1, 2] * 4


# Structured output


class Named(TypedDict):
    """A name."""

    name: str


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_has_the_three_methods(ask: Ask, method: str) -> None:
    said: Reply = always(json.dumps({"name": "Ada"}))
    if method == "function_calling":
        said = always(wants(("Named", {"name": "Ada"})))
    assert ask(over(said, not_asked).with_structured_output(Named, method=method)) == {"name": "Ada"}
    with pytest.raises(ConfigurationError, match=r"method is 'xml'; there are json_schema"):
        over(said, not_asked).with_structured_output(Named, method="xml")


def test_a_schema_is_strict_only_where_a_server_would_take_it_so() -> None:
    class Open(BaseModel):
        name: str
        age: int | None = None

    closed = {
        "title": "closed",
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    small = Scripted(reply=always('{"name": "Ada"}'))
    model = over(small, not_asked)
    model.with_structured_output(Open).invoke("Who?")
    model.with_structured_output(closed).invoke("Who?")
    formats = [options["response_format"]["json_schema"] for options in small.options]
    assert [(form["name"], form["strict"]) for form in formats] == [("Open", False), ("closed", True)]


def test_what_cannot_be_parsed_in_the_end_raises(ask: Ask) -> None:
    structured = over(always("no"), always("none")).with_structured_output(Offer)
    with pytest.raises(OutputParserException, match="the answer is not JSON"):
        ask(structured)


def test_structured_output_streams_its_value(sync: bool) -> None:
    structured = over(always("no"), always(OFFER)).with_structured_output(Offer)

    async def collect() -> list[Any]:
        return [each async for each in structured.astream("Hello")]

    assert (list(structured.stream("Hello")) if sync else asyncio.run(collect())) == [
        Offer(euros=2.5, pieces=3)
    ]


# Served tiers


def test_a_tiers_secrets_are_in_no_error_and_no_record(ask: Ask) -> None:
    def refuse(body: Any) -> object:
        raise RefusalError(400, "the key sk-very-secret is wrong")

    sink = Sink()
    with serve_openai(refuse) as server:
        tier = openai_tier("small", model="m", base_url=server.url, api_key=SecretStr("sk-very-secret"))
        model = LadderChatModel(ladder=Ladder([tier]), traces=sink)
        with pytest.raises(TierError, match=r"the key \*\*\* is wrong") as raised:
            ask(model)
    assert "very-secret" not in str(raised.value) + repr(model) + str(sink.attempts)
    cause: BaseException | None = raised.value
    while cause is not None:
        assert "very-secret" not in str(cause)
        cause = cause.__cause__


def test_a_call_takes_a_place_in_its_tiers_queue_like_any_other() -> None:
    seen: list[int] = []
    model = over(always("ok"), not_asked)
    gate = model.ladder.smallest.gate
    small = Scripted(reply=lambda messages: seen.append(gate.held) or "ok")  # type: ignore[func-returns-value]
    object.__setattr__(model.ladder.smallest.pool.replicas[0], "model", small)
    model.invoke("Hello")
    list(model.stream("Hello"))
    assert (seen, gate.held) == ([1, 1], 0)


def test_a_served_tier_streams_what_its_server_does(stream: Stream) -> None:
    with serve_openai(lambda body: "Good day") as server:
        model = LadderChatModel(ladder=Ladder([openai_tier("small", model="m", base_url=server.url)]))
        whole = added(stream(model))
    assert whole.content == "Good day"
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (100, 10)
    assert record(whole)["attempts"][0]["calls"][0]["usage"] == {"input": 100, "cached": 60, "output": 10}


def test_a_try_that_failed_is_in_the_usage_of_the_call(ask: Ask) -> None:
    # The server broke off, so it may have billed for the prompt.
    with serve_prepared(completion("ok")) as server:
        tiers = ladder(broken, not_asked)
        large = openai_tier("large", model="m", base_url=server.url)
        model = LadderChatModel(ladder=Ladder([tiers.smallest, large]))
        message = ask(model, "x" * 40)
    assert [attempt["tier"] for attempt in record(message)["attempts"]] == ["small", "large"]
    assert message.usage_metadata is not None
    own = record(message)["attempts"][1]["calls"][-1]["usage"]["input"]
    lost = record(message)["attempts"][0]["calls"][-1]["usage"]["input"]
    assert message.usage_metadata["input_tokens"] == own + lost
    assert lost == 10


def test_in_turn_a_thread_of_calls_is_routed_anew_each_time() -> None:
    model = over(in_turn("", "fine"), always("from large")).bind_tools([add])
    assert [record(model.invoke("Hello"))["tier"] for _ in range(2)] == ["large", "small"]
