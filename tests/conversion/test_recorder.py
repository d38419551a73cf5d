"""What any LangChain or LangGraph program calls is recorded, as often as it is called, and where."""

from __future__ import annotations

import asyncio
import operator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

pytest.importorskip("langchain.agents", reason="langchain is not installed; it comes with stellwerk[agents]")

from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy

from stellwerk import LadderChatModel, Price, TierRouterMiddleware, TraceStore, create_orchestrator
from stellwerk.conversion.example import example_of
from stellwerk.conversion.recorder import TraceRecorder
from tests.chat.models import streaming
from tests.conversion.programs import Sink, model, uses
from tests.fakes import Messages, always, in_turn, ladder, make, plan, run, wants, worker


@pytest.fixture
def sink() -> Sink:
    return Sink()


@tool
def look(at: str) -> str:
    """Look at something."""
    if at == "nothing":
        raise ValueError("there is nothing to see")
    return f"seen {at}"


def graph_of(chat: Any, node: str = "answer") -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [chat.invoke([SystemMessage("Be exact."), *state["messages"]])]}

    async def aanswer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke([SystemMessage("Be exact."), *state["messages"]])]}

    return StateGraph(MessagesState).add_node(node, RunnableLambda(answer, aanswer)).add_edge(START, node)


ASKED: Any = {"messages": [("human", "How many?")]}


def test_a_call_of_a_graph_is_a_trace_with_all_that_is_known_of_it(sink: Sink, sync: bool) -> None:
    graph = graph_of(model(always("five"))).compile()
    config: RunnableConfig = {
        "callbacks": [TraceRecorder(sink)],
        "configurable": {"thread_id": "t1", "user_id": "ada"},
    }
    run(graph, ASKED, config, sync=sync)
    (call,) = sink.calls
    assert (call.worker, call.tier, call.model, call.answer) == ("answer", "gpt-4.1", "gpt-4.1", "five")
    assert [message.text for message in call.messages] == ["Be exact.", "How many?"]
    assert call.verdict == {"accepted": True}
    used = call.calls[0]["usage"]
    assert used["input"] > 0
    assert call.usd == pytest.approx((used["input"] * 2 + used["output"] * 8) / 1e6)
    assert 0 < call.calls[0]["seconds"] < 5
    assert (call.thread_id, call.origin.user, call.origin.private) == ("t1", "ada", True)
    assert sink.outcomes == ["running", "ok"]
    assert (sink.runs[-1].run_id, sink.runs[-1].task) == (call.run_id, "How many?")


def test_what_was_recorded_is_read_back_as_an_example(tmp_path: Path) -> None:
    agent: Any = create_agent(
        model(in_turn(wants(("look", {"at": "it"})), "done")), [look], system_prompt="Be exact."
    )
    with TraceStore.from_url(tmp_path / "traces.sqlite") as traces:
        agent.invoke(ASKED, {"callbacks": [TraceRecorder(traces)]})
        last, first = (example_of(attempt) for attempt in traces.attempts())
        assert [found["outcome"] for found in traces.runs()] == ["ok"]
    assert first is not None
    assert (first.call_site, first.answer, first.tool_calls) == (
        "model",
        None,
        [{"name": "look", "args": {"at": "it"}}],
    )
    assert (first.tools, first.asked) == (["look"], "How many?")
    assert last is not None
    assert (last.answer, last.asked) == ("done", "seen it")


def test_the_path_of_subgraphs_and_tools_is_the_call_site(sink: Sink, sync: bool) -> None:
    inner: Any = create_agent(model(always("deep")), [], name="inner")

    @tool
    def research(question: str) -> str:
        """Find out."""
        return str(inner.invoke({"messages": [("human", question)]})["messages"][-1].text)

    outer = create_agent(
        model(in_turn(wants(("research", {"question": "why"})), "done")), [research], name="lead"
    )
    program = StateGraph(MessagesState).add_node("team", outer).add_edge(START, "team").compile()
    run(program, ASKED, {"callbacks": [TraceRecorder(sink, program="shop")]}, sync=sync)
    assert sorted(sink.sites) == ["shop/team/model", "shop/team/model", "shop/team/tools/research/model"]
    sink.calls.clear()
    run(
        create_agent(model(always("done")), [], name="lead"),
        ASKED,
        {"callbacks": [TraceRecorder(sink)]},
        sync=sync,
    )
    assert sink.sites == ["lead/model"]
    assert len({run.run_id for run in sink.runs}) == 2


def test_tools_called_side_by_side_and_in_vain_are_part_of_the_call(sink: Sink, sync: bool) -> None:
    both = wants(("look", {"at": "this"}), ("look", {"at": "that"}))
    chat = model(in_turn(both, "done"))
    run(create_agent(chat, [look]), ASKED, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    first, last = sink.calls
    assert [(use["output"], use["failed"]) for use in uses(first)] == [
        ("seen this", False),
        ("seen that", False),
    ]
    assert all(use["seconds"] > 0 for use in uses(first))
    assert (uses(last), last.answer) == ([], "done")
    assert [each["function"]["name"] for each in first.offered] == ["look"]


def test_a_tool_that_fails_ends_the_run_and_its_call_says_so(sink: Sink, sync: bool) -> None:
    agent = create_agent(model(always(wants(("look", {"at": "nothing"})))), [look])
    with pytest.raises(ValueError, match="nothing to see"):
        run(agent, ASKED, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    (call,) = sink.calls
    assert [(use["output"], use["failed"]) for use in uses(call)] == [
        ("ValueError: there is nothing to see", True)
    ]
    assert (call.verdict["accepted"], sink.outcomes, sink.runs[-1].detail) == (
        True,
        ["running", "failed"],
        "ValueError",
    )


def test_tools_that_a_program_calls_itself_are_found_in_the_next_prompt(sink: Sink) -> None:
    chat = model(in_turn(wants(("look", {"at": "it"})), "done"))

    def loop(state: MessagesState) -> dict[str, Any]:
        asked = chat.invoke(state["messages"])
        told = {"role": "tool", "tool_call_id": asked.tool_calls[0]["id"], "content": "seen by hand"}
        return {"messages": [asked, told, chat.invoke([*state["messages"], asked, told])]}

    program = StateGraph(MessagesState).add_node("loop", loop).add_edge(START, "loop").compile()
    program.invoke(ASKED, {"callbacks": [TraceRecorder(sink)]})
    assert [use["output"] for use in uses(sink.calls[0])] == ["seen by hand"]


def test_each_try_is_a_call_and_an_error_keeps_no_words_of_it(sink: Sink, sync: bool) -> None:
    chat = model(in_turn(ConnectionError("refused: sk-secret"), TimeoutError("late"), "five"))
    builder = StateGraph(MessagesState)
    inner = graph_of(chat).compile()
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, retry_on=Exception)
    program = builder.add_node("again", inner, retry_policy=policy).add_edge(START, "again").compile()
    run(program, ASKED, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    assert [call.verdict.get("reason") for call in sink.calls] == ["tier", "timeout", None]
    assert sink.calls[0].verdict["detail"] == "ConnectionError"
    assert {call.worker for call in sink.calls} == {"again/answer"}
    assert sink.outcomes[-1] == "ok"


@pytest.mark.parametrize("given_up", [False, True])
def test_a_stream_is_recorded_whole_or_not_at_all(sink: Sink, sync: bool, given_up: bool) -> None:
    recorder = TraceRecorder(sink)
    chat = streaming("one ", "two ", "three")
    if sync:
        stream = chat.stream("Count", {"callbacks": [recorder]})
        next(stream)
        if given_up:
            stream.close()  # type: ignore[attr-defined]  # a generator
        else:
            list(stream)
    else:

        async def read() -> None:
            chunks = chat.astream("Count", {"callbacks": [recorder]})
            async for _ in chunks:
                if given_up:
                    await chunks.aclose()  # type: ignore[attr-defined]  # as above
                    break

        asyncio.run(read())
    if given_up:
        assert (sink.calls, dict(recorder.counts)) == ([], {"cancelled": 1})
    else:
        assert [(call.answer, call.calls[0]["usage"]["output"]) for call in sink.calls] == [
            ("one two three", 3)
        ]


class Found(BaseModel):
    """What was found."""

    year: int


@pytest.mark.parametrize("by_tool", [False, True])
def test_structured_output_is_the_value(sink: Sink, sync: bool, by_tool: bool) -> None:
    said = wants(("Found", {"year": 2024})) if by_tool else AIMessage('{"year": 2024}')
    strategy = ToolStrategy(Found) if by_tool else ProviderStrategy(Found)
    agent = create_agent(model(always(said)), [], response_format=strategy)
    run(agent, ASKED, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    (call,) = sink.calls
    if by_tool:
        assert [(use["name"], use["args"]) for use in uses(call)] == [("Found", {"year": 2024})]
    else:
        assert call.value == {"year": 2024}
    sink.calls.clear()
    bound = model(always(said)).with_structured_output(Found, method="function_calling")
    if by_tool:
        bound.invoke("When?", {"callbacks": [TraceRecorder(sink)]})
        assert [(call.value, call.worker) for call in sink.calls] == [({"year": 2024}, "model")]


def test_outside_of_graphs_the_chain_names_the_site_and_a_batch_is_its_calls(sink: Sink) -> None:
    recorder = TraceRecorder(sink)
    chain = ChatPromptTemplate([("system", "Sum up."), ("human", "{text}")]) | model(always("short"))
    named = (chain | StrOutputParser()).with_config(run_name="sum_up")
    named.batch([{"text": str(number)} for number in range(5)], {"callbacks": [recorder]})
    assert sink.sites == ["sum_up"] * 5
    assert len({call.run_id for call in sink.calls}) == len({call.trace_id for call in sink.calls}) == 5
    assert sorted({run.task for run in sink.runs}) == ["0", "1", "2", "3", "4"]
    alone = Sink()
    model(always("x")).invoke("hi", {"callbacks": [TraceRecorder(alone)], "run_name": "greet"})
    FakeListLLM(responses=["y"]).invoke("hi", {"callbacks": [TraceRecorder(alone)]})
    assert (alone.sites[0], [call.answer for call in alone.calls], alone.runs) == ("greet", ["x", "y"], [])
    assert [message.text for message in alone.calls[1].messages] == ["hi"]


def test_calls_of_a_map_are_told_apart(sink: Sink, sync: bool) -> None:
    class Many(TypedDict):
        said: Annotated[list[str], operator.add]

    chat = model(lambda messages: messages[-1].text)

    def one(state: dict[str, str]) -> dict[str, Any]:
        return {"said": [chat.invoke(state["text"]).text]}

    builder = StateGraph(Many).add_node("one", one)  # type: ignore[type-var]  # it gets what `Send` holds
    builder.add_conditional_edges(
        START, lambda _: [Send("one", {"text": str(n)}) for n in range(20)], ["one"]
    )
    run(builder.compile(), {"said": []}, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    assert sorted(call.answer or "" for call in sink.calls) == sorted(map(str, range(20)))
    assert set(sink.sites) == {"one"}
    assert sink.outcomes == ["running", "ok"]


def test_what_talks_to_a_person_is_left_out(sink: Sink) -> None:
    recorder = TraceRecorder(sink, hci=["chat*"])
    graph_of(model(always("hello")), "chatting").compile().invoke(ASKED, {"callbacks": [recorder]})
    marked = model(always("hello"), metadata={"stellwerk_hci": True})
    graph_of(marked).compile().invoke(ASKED, {"callbacks": [recorder]})
    assert (sink.calls, sink.runs, dict(recorder.counts)) == ([], [], {"hci": 2})
    named = model(always("hello"), metadata={"stellwerk_call_site": "greeting"})
    graph_of(named).compile().invoke(ASKED, {"callbacks": [recorder]})
    assert sink.sites == ["greeting"]


def test_a_run_without_consent_leaves_nothing(sink: Sink, sync: bool) -> None:
    recorder = TraceRecorder(sink)
    config: RunnableConfig = {"callbacks": [recorder], "metadata": {"stellwerk_consent": False}}
    run(graph_of(model(always("five"))).compile(), ASKED, config, sync=sync)
    assert (sink.calls, sink.runs, dict(recorder.counts)) == ([], [], {"denied": 1})


def test_an_answer_that_langchain_kept_is_no_call(sink: Sink) -> None:
    recorder = TraceRecorder(sink)
    chat = model(always("five"), cache=InMemoryCache())
    for _ in range(3):
        chat.invoke("How many?", {"callbacks": [recorder]})
    assert dict(recorder.counts) == {"recorded": 1, "kept": 2}


def test_a_run_that_asks_a_person_is_interrupted(sink: Sink, sync: bool) -> None:
    chat = model(always("five"))

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(interrupt("sure?")), chat.invoke(state["messages"])]}

    def before(state: MessagesState) -> dict[str, Any]:
        return {"messages": [chat.invoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(before).add_node(ask)
    builder.add_edge(START, "before").add_edge("before", "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"callbacks": [TraceRecorder(sink)], "configurable": {"thread_id": str(uuid4())}}
    run(graph, ASKED, config, sync=sync)
    assert sink.outcomes == ["running", "interrupted"]
    run(graph, Command(resume="yes"), config, sync=sync)
    assert (sink.outcomes[2:], sink.sites) == (["running", "ok"], ["before", "ask"])


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "length"), ("content_filter", "refusal"), ("stop", None)]
)
def test_an_answer_that_was_cut_off_is_none(sink: Sink, finish: str, reason: str | None) -> None:
    said = AIMessage("fi", response_metadata={"finish_reason": finish})
    model(always(said)).invoke("How many?", {"callbacks": [TraceRecorder(sink)]})
    assert [call.verdict.get("reason") for call in sink.calls] == [reason]


def test_prices_are_the_programs_own_first_and_unknown_where_nobody_knows(sink: Sink) -> None:
    recorder = TraceRecorder(sink, prices={"mine": Price(input=1e6, output=0)})
    for name in ("mine", "who-knows"):
        model(always("x"), model_name=name).invoke("a b c", {"callbacks": [recorder]})
    mine, unknown = sink.calls
    assert (mine.usd, unknown.usd) == (mine.calls[0]["usage"]["input"], None)


def test_our_own_graphs_and_models_are_not_recorded_twice(sink: Sink, sync: bool) -> None:
    def reply(messages: Messages) -> str:
        return make(messages)

    recorder, own = TraceRecorder(sink), Sink()
    graph = create_orchestrator([worker()], ladder(reply, reply), traces=own, synthesizer="join").compile()
    run(graph, {"task": "go", "plan": plan(a="", b="a")}, {"callbacks": [recorder]}, sync=sync)
    assert (len(own.calls), sink.calls, sink.runs) == (2, [], [])
    traced = LadderChatModel(ladder=ladder(always("x"), always("y")), traces=own)
    graph_of(traced).compile().invoke(ASKED, {"callbacks": [recorder]})
    middleware: Any = TierRouterMiddleware(ladder(always("x"), always("y")), traces=own)
    create_agent(model(always("z")), [], middleware=[middleware]).invoke(ASKED, {"callbacks": [recorder]})
    assert (len(own.calls), sink.calls) == (4, [])
    silent = LadderChatModel(ladder=ladder(always("x"), always("y")))
    graph_of(silent).compile().invoke(ASKED, {"callbacks": [recorder]})
    assert [(call.worker, call.tier) for call in sink.calls] == [("answer", "small")]


def test_planning_which_is_no_attempt_is_recorded_under_the_runs_own_id(sink: Sink) -> None:
    own = Sink()

    def reply(messages: Messages) -> str:
        return '{"subtasks": [{"id": "a", "worker": "make", "instruction": "[[a]]", "depends_on": []}]}'

    graph = create_orchestrator([worker()], ladder(make, reply), traces=own, synthesizer="join").compile()
    graph.invoke({"task": "go"}, {"callbacks": [TraceRecorder(sink)]})
    assert [(call.worker, call.tier, call.run_id) for call in sink.calls] == [
        ("supervisor", "large", own.calls[0].run_id)
    ]
    assert sink.runs == []


def test_a_sink_that_fails_harms_no_run(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sink):
        def attempt(self, trace: Any, /) -> None:
            raise RuntimeError("full")

    state = graph_of(model(always("five"))).compile().invoke(ASKED, {"callbacks": [TraceRecorder(Broken())]})
    assert state["messages"][-1].text == "five"
    assert "full" in caplog.text


def test_the_version_is_of_the_wording_and_not_of_the_day(sink: Sink) -> None:
    recorder = TraceRecorder(sink)
    for system in (
        "Today is 2026-03-01. Give 3 points.",
        "Today is 2026-03-02. Give 3 points.",
        "Today is 2026-03-02. Give 5 points.",
    ):
        model(always("x")).invoke([SystemMessage(system), HumanMessage("go")], {"callbacks": [recorder]})
    model(always("x")).bind_tools([look]).invoke(
        [SystemMessage(system), HumanMessage("go")], {"callbacks": [recorder]}
    )
    first, second, third, fourth = (call.worker_version for call in sink.calls)
    assert first == second
    assert len({first, third, fourth}) == 3


def test_nothing_is_kept_of_runs_that_have_ended() -> None:
    recorder = TraceRecorder(Sink())
    agent = create_agent(
        model(lambda messages: wants(("look", {"at": "x"})) if len(messages) < 4 else "done"), [look]
    )
    for _ in range(3):
        agent.invoke(ASKED, {"callbacks": [recorder]})
    assert not recorder._asked
    assert not recorder._running._parts
    assert not recorder._running._roots


def test_a_tool_that_is_called_again_after_it_failed_has_what_it_gave_last(sink: Sink, sync: bool) -> None:
    tries: list[str] = []

    @tool
    def fetch(at: str) -> str:
        """Fetch something."""
        tries.append(at)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return f"fetched {at}"

    again = ToolRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    chat = model(in_turn(wants(("fetch", {"at": "it"})), "done"))
    agent = create_agent(chat, [fetch], middleware=[again])
    run(agent, ASKED, {"callbacks": [TraceRecorder(sink)]}, sync=sync)
    assert [(use["output"], use["failed"]) for use in uses(sink.calls[0])] == [("fetched it", False)]
    assert len(sink.calls) == len(tries) == 2


def test_many_threads_share_one_recorder(tmp_path: Path) -> None:
    with TraceStore.from_url(tmp_path / "traces.sqlite") as traces:
        recorder = TraceRecorder(traces)
        agent: Any = create_agent(
            model(lambda messages: wants(("look", {"at": "x"})) if len(messages) < 2 else "done"), [look]
        )
        config: RunnableConfig = {"callbacks": [recorder]}
        with ThreadPoolExecutor(8) as threads:
            for _ in threads.map(lambda _: agent.invoke(ASKED, config), range(40)):
                pass
        found = list(traces.attempts())
        assert (len(found), dict(recorder.counts), traces.dropped) == (80, {"recorded": 80}, 0)
        assert {each["outcome"] for each in traces.runs()} == {"ok"}
        assert all(use["output"] == "seen x" for each in found for use in each["tools"])
