"""Runs as spans: the tree, what each part tells, and what none ever tells."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from opentelemetry import trace

from stellwerk.errors import InputError
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.observer import Observer
from stellwerk.tiers import Ladder, Price, Tier
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.vllm import ChatVLLM
from tests.fakes import (
    Crash,
    Reply,
    Scripted,
    always,
    broken,
    in_turn,
    job,
    ladder,
    make,
    mark_of,
    plan,
    run,
    subtask,
    text_of,
    wants,
    worker,
)
from tests.observing.spans import Recorded, attributes

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-7"}}
SECRET = "sk-never-shown-0123456789"
PLANNED = {"subtasks": [subtask("a"), subtask("b"), subtask("c", worker="tooled")]}


def double(n: int) -> int:
    """Twice a number."""
    trace.get_tracer("a program's own").start_span("inside").end()
    return 2 * n


def graph(observer: Observer, *, small: Reply | None = None, **options: Any) -> Any:
    """Three subtasks of two workers: `b` goes up the ladder, and `c` calls a tool."""
    asks = in_turn(wants(("double", {"n": 2})), '{"text": "4"}')

    def usual(messages: Sequence[BaseMessage]) -> Any:
        if mark_of(messages) == "c":
            return asks(messages)
        return f"no, says {SECRET}" if mark_of(messages) == "b" else make(messages)

    def large(messages: Sequence[BaseMessage]) -> str:
        return json.dumps(PLANNED) if "Plan:" in text_of(messages) else make(messages)

    workers = [worker(), worker("tooled", tools=[double])]
    made = create_orchestrator(
        workers, ladder(small or usual, large), synthesizer="join", observers=[observer]
    )
    return made.compile(name="orchestrator", **options)


TREE = """
invoke_workflow orchestrator
  plan supervisor
    chat Scripted
  invoke_agent make [a]
    attempt small
      chat Scripted
  invoke_agent make [b]
    attempt small !not_json
      chat Scripted
      chat Scripted
    attempt large
      chat Scripted
  invoke_agent tooled [c]
    attempt small
      chat Scripted
      execute_tool double
      chat Scripted
"""


def test_a_run_is_a_tree_of_spans(sync: bool) -> None:
    told = Recorded()
    output = run(graph(told.observer), {"task": f"Do {SECRET}"}, THREAD, sync=sync)
    assert output["failure"] is None
    assert told.lines() == TREE.strip().splitlines()
    assert len({span.context.trace_id for span in told.spans if span.context}) == 1


def test_streams_have_the_same_tree() -> None:
    told = Recorded()

    async def events() -> None:
        async for _ in graph(told.observer).astream_events({"task": "Do"}, THREAD):
            pass

    asyncio.run(events())
    list(graph(told.observer).stream({"task": "Do"}, THREAD, stream_mode="messages"))
    assert told.lines() == TREE.strip().splitlines() * 2


def test_parts_tell_what_they_are_and_what_they_cost(sync: bool) -> None:
    told = Recorded()
    output = run(graph(told.observer), {"task": "Do"}, THREAD, sync=sync)
    total = output["ledger"]["total"]
    root = attributes(told.one("invoke_workflow orchestrator"))
    assert root["gen_ai.operation.name"] == "invoke_workflow"
    assert root["gen_ai.conversation.id"] == "thread-7"
    assert (root["stellwerk.usd"], root["stellwerk.subtasks.accepted"]) == (total["usd"], 3)
    assert {span.attributes["stellwerk.run.id"] for span in told.spans if span.attributes} == {
        root["stellwerk.run.id"]
    }
    calls = [attributes(span) for span in told.named("chat Scripted")]
    assert sum(call["gen_ai.usage.input_tokens"] for call in calls) == total["input"]
    assert sum(call["gen_ai.usage.output_tokens"] for call in calls) == total["output"]
    assert sum(call["stellwerk.usd"] for call in calls) == pytest.approx(total["usd"])
    assert {(call["gen_ai.provider.name"], call["gen_ai.request.model"]) for call in calls} == {
        ("scripted", "Scripted")
    }
    attempt = attributes(told.one("attempt large"))
    record = output["results"]["b"]["attempts"][1]["decision"]
    expected = {
        "tier": "large",
        "router": record["router"],
        "router.version": record["version"],
        "propensity": record["propensity"],
        "attempt": 2,
        "escalated_from": "small",
        "verdict": "accepted",
        "subtask": "b",
    }
    assert (
        expected.items() <= {key.removeprefix("stellwerk."): value for key, value in attempt.items()}.items()
    )
    tool = attributes(told.one("execute_tool double"))
    assert (tool["gen_ai.tool.name"], tool["gen_ai.operation.name"]) == ("double", "execute_tool")


def test_no_contents_and_no_secrets_are_told(monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    told = Recorded()
    given = {"task": f"Do it with {SECRET}", "documents": [f"The key is {SECRET}."]}
    run(graph(told.observer), given, THREAD, sync=sync)
    everything = told.everything()
    assert "chat Scripted" in everything
    for content in (SECRET, "made:a", "[[b]]", '"n"', "gen_ai.input.messages", "begins"):
        assert content not in everything


def test_contents_are_told_where_they_are_asked_for(sync: bool) -> None:
    told = Recorded(contents=True, redact=lambda text: text.replace(SECRET, "***"))
    run(graph(told.observer), {"task": f"Do it with {SECRET}"}, THREAD, sync=sync)
    tool = attributes(told.one("execute_tool double"))
    assert json.loads(tool["gen_ai.tool.call.arguments"]) == {"n": 2}
    assert tool["gen_ai.tool.call.result"] == "4"
    asked = [attributes(span) for span in told.named("chat Scripted")]
    prompts = [json.loads(call["gen_ai.input.messages"]) for call in asked]
    assert {message["role"] for prompt in prompts for message in prompt} == {
        "system",
        "user",
        "assistant",
        "tool",
    }
    answers = [json.loads(call["gen_ai.output.messages"])[0] for call in asked]
    assert {answer["finish_reason"] for answer in answers} == {"stop"}
    rejected = next(span for span in told.named("attempt small") if span.status.description)
    assert "the answer is not JSON" in str(rejected.status.description)
    assert SECRET not in told.everything()


def test_failures_are_errors_up_to_the_run(sync: bool) -> None:
    told = Recorded()
    failing = create_orchestrator(
        [worker()], ladder(broken, always("no")), synthesizer="join", observers=[told.observer]
    ).compile(name="failing")
    run(failing, {"task": "Do", "plan": plan(a="", b="a")}, sync=sync)
    assert told.lines() == [
        "invoke_workflow failing !subtasks",
        "  invoke_agent make [a] !not_json",
        "    attempt small !tier",
        "      chat Scripted !TierError",
        "    attempt large !not_json",
        "      chat Scripted",
        "      chat Scripted",
    ]
    durations = told.points("gen_ai.client.operation.duration")
    assert sorted(point.attributes.get("error.type", "") for point in durations) == ["", "TierError"]


def test_a_run_that_breaks_off_is_told_with_what_broke_it(sync: bool) -> None:
    told = Recorded()
    made = create_orchestrator([worker()], ladder(make, make), observers=[told.observer])
    with pytest.raises(InputError):
        run(made.compile(), {"task": " "}, sync=sync)
    assert told.lines()[0] == "invoke_workflow LangGraph !InputError"
    assert "the task is empty" not in told.everything()


def test_an_interrupted_run_ends_and_its_resumption_is_linked(sync: bool) -> None:
    def ask(question: str) -> str:
        """Ask a person."""
        return str(interrupt(question))

    told = Recorded()
    small = in_turn(wants(("ask", {"question": "May I?"})), '{"text": "yes"}')
    made = create_orchestrator(
        [worker(tools=[ask])], ladder(small, make), synthesizer="join", observers=[told.observer]
    ).compile(checkpointer=InMemorySaver(), name="asking")
    run(made, {"task": "Do", "plan": plan(a="")}, THREAD, sync=sync)
    assert told.lines() == [
        "invoke_workflow asking (interrupted)",
        "  invoke_agent make [a] (interrupted)",
        "    attempt small (interrupted)",
        "      chat Scripted",
        "      execute_tool ask (interrupted)",
    ]
    (first,) = told.named("invoke_workflow asking")
    output = run(made, Command(resume="yes"), THREAD, sync=sync)
    assert output["failure"] is None
    _, second = told.named("invoke_workflow asking")
    assert first.context is not None
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    assert attributes(first)["stellwerk.run.id"] == attributes(second)["stellwerk.run.id"]
    assert attributes(told.named("attempt small")[1])["stellwerk.verdict"] == "accepted"


def test_a_graph_that_is_compiled_to_stop_is_interrupted_there(sync: bool) -> None:
    told = Recorded()
    made = graph(told.observer, checkpointer=InMemorySaver(), interrupt_after=["supervisor"])
    run(made, {"task": "Do"}, THREAD, sync=sync)
    assert told.lines()[:2] == ["invoke_workflow orchestrator (interrupted)", "  plan supervisor"]


def test_a_stream_that_nobody_takes_to_its_end_is_interrupted() -> None:
    told = Recorded()
    stream = graph(told.observer).stream({"task": "Do"}, THREAD)
    next(stream)
    assert not trace.get_current_span().get_span_context().is_valid
    stream.close()
    assert told.lines()[0] == "invoke_workflow orchestrator (interrupted)"


def test_a_process_that_dies_is_no_failure_of_the_run() -> None:
    def dies(messages: object) -> str:
        raise Crash

    told = Recorded()
    with pytest.raises(Crash):
        run(graph(told.observer, small=dies), {"task": "Do", "plan": plan(a="")}, sync=True)
    assert set(told.lines()) == {
        "invoke_workflow orchestrator (interrupted)",
        "  invoke_agent make [a] (interrupted)",
        "    attempt small (interrupted)",
        "      chat Scripted (interrupted)",
    }


def test_spans_of_the_program_are_around_and_inside(monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    told = Recorded()
    monkeypatch.setattr(trace, "get_tracer", told.provider.get_tracer)
    with told.provider.get_tracer("program").start_as_current_span("request") as request:
        request.set_attribute("stellwerk.outcome", "ok")
        run(graph(told.observer), {"task": "Do"}, THREAD, sync=sync)
    (outer,) = told.named("request")
    root, inside, tool = (
        told.one(name) for name in ("invoke_workflow orchestrator", "inside", "execute_tool double")
    )
    assert outer.context is not None
    assert tool.context is not None
    assert root.parent is not None
    assert inside.parent is not None
    assert root.parent.span_id == outer.context.span_id
    assert inside.parent.span_id == tool.context.span_id


def test_a_worker_that_runs_alone_is_observed(sync: bool) -> None:
    told = Recorded()
    made = create_worker_graph(worker(), ladder(make, make), observers=[told.observer]).compile()
    run(made, {"instruction": job("a")}, sync=sync)
    assert [span.name for span in told.spans] == ["invoke_agent make", "attempt small", "chat Scripted"]


def test_model_calls_are_measured_as_the_conventions_say() -> None:
    told = Recorded()
    run(graph(told.observer), {"task": "Do"}, sync=True)
    tokens = told.points("gen_ai.client.token.usage")
    assert {point.attributes["gen_ai.token.type"] for point in tokens} == {"input", "output"}
    assert {point.attributes["gen_ai.request.model"] for point in tokens} == {"Scripted"}
    assert tokens[0].explicit_bounds[-1] == 67_108_864
    assert sum(point.count for point in told.points("gen_ai.client.operation.duration")) == 7


def test_tries_that_failed_are_told(sync: bool) -> None:
    told = Recorded()
    shaky = Scripted(reply=in_turn(ConnectionError("away"), '{"text": "there"}'))
    tiers = Ladder([Tier(name="small", model=shaky, max_retries=1, price=Price(input=1.0))])
    made = create_orchestrator([worker()], tiers, synthesizer="join", observers=[told.observer]).compile()
    output = run(made, {"task": "Do", "plan": plan(a="")}, sync=sync)
    call = attributes(told.one("chat Scripted"))
    assert call["stellwerk.tries"] == 2
    assert call["stellwerk.usd"] == pytest.approx(output["ledger"]["total"]["usd"])
    assert call["stellwerk.waited"] > 0


def test_providers_are_those_of_the_models() -> None:
    from stellwerk.nodes.observed import model_of

    models = (
        ChatVLLM(model="qwen", base_url="http://127.0.0.1:1/v1"),
        ChatLlamaCpp(path=lambda: pytest.fail("opened"), model_name="smollm2-135m"),
    )
    assert [model_of(Tier(name="t", model=model)) for model in models] == [
        ("qwen", "vllm"),
        ("smollm2-135m", "llamacpp"),
    ]


class Clumsy(Observer):
    def begin(self, *_: object) -> None:
        raise RuntimeError("clumsy")

    end = during = begin  # type: ignore[assignment]


def test_an_observer_that_fails_fails_no_run(caplog: pytest.LogCaptureFixture, sync: bool) -> None:
    told = Recorded()
    made = create_orchestrator(
        [worker()], ladder(make, make), synthesizer="join", observers=[Clumsy(), told.observer]
    ).compile()
    assert run(made, {"task": "Do", "plan": plan(a="")}, sync=sync)["failure"] is None
    assert len(told.spans) == 4
    assert "the observer Clumsy failed" in caplog.text
