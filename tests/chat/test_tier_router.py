import asyncio
import builtins
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field

pytest.importorskip("langchain.agents", reason="langchain is not installed; it comes with stellwerk[agents]")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputError, ToolStrategy

from stellwerk import (
    ConfigurationError,
    Fixed,
    Ladder,
    MissingExtraError,
    Price,
    StrictSerializer,
    Tier,
    TierError,
    TierRouterMiddleware,
)
from stellwerk.chat import tier_router
from stellwerk.chat.agent_call import MOST_DECISIONS
from tests.chat.models import Chooses, Sink, climbs, streaming
from tests.fakes import Messages, Reply, Scripted, always, broken, ladder, not_asked, wants

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(sync: bool) -> Run:
    """Run an agent on a question."""

    def asked(agent: Any, question: str = "Add 1 and 2", thread: str | None = None, **config: Any) -> Any:
        given = {"messages": [("human", question)]}
        settings = {"configurable": {"thread_id": thread}, **config} if thread else config
        if sync:
            return agent.invoke(given, settings)
        return asyncio.run(agent.ainvoke(given, settings))

    return asked


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def total(messages: Messages) -> AIMessage:
    return wants(("add", {"a": 1, "b": 2}))


def sums(messages: Messages) -> AIMessage:
    """Adds, and then says so."""
    return AIMessage("It is 3.") if isinstance(messages[-1], ToolMessage) else total(messages)


def agent_over(tiers: Ladder, *others: Any, saver: Any = None, format: Any = None, **fields: Any) -> Any:
    return create_agent(
        Scripted(reply=not_asked),
        [add],
        system_prompt="You add.",
        middleware=[*others, TierRouterMiddleware(tiers, **fields)],
        checkpointer=saver,
        response_format=format,
    )


def tiers_of(state: dict[str, Any]) -> list[str]:
    """Which tier gave each reply."""
    replies = [message for message in state["messages"] if isinstance(message, AIMessage)]
    return [reply.response_metadata["stellwerk"]["tier"] for reply in replies]


def test_an_agent_runs_on_the_tiers_and_not_on_its_own_model(run: Run) -> None:
    state = run(agent_over(ladder(sums, not_asked)))
    assert state["messages"][-1].content == "It is 3."
    assert tiers_of(state) == ["small", "small"]


def test_a_broken_call_of_a_tool_goes_up_before_any_tool_is_run(run: Run) -> None:
    ran: list[tuple[int, int]] = []

    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        ran.append((a, b))
        return a + b

    def small(messages: Messages) -> AIMessage:
        return sums(messages) if len(messages) > 2 else wants(("add", {"a": "one", "b": 2}))

    agent = create_agent(
        Scripted(reply=not_asked), [add], middleware=[TierRouterMiddleware(ladder(small, sums))]
    )
    state = run(agent)
    assert ran == [(1, 2)]
    assert tiers_of(state) == ["large", "small"]
    attempts = state["messages"][1].response_metadata["stellwerk"]["attempts"]
    assert attempts[0]["verdict"]["detail"] == "add.a is 'one'; it must be of type integer"


def test_a_tier_that_gives_no_answer_is_left_for_the_next(run: Run) -> None:
    state = run(agent_over(ladder(broken, sums)))
    assert tiers_of(state) == ["large", "large"]
    with pytest.raises(TierError, match="tier 'large' gave no answer"):
        run(agent_over(ladder(broken, broken)))


def test_decisions_are_in_the_state_and_bounded(run: Run) -> None:
    agent = agent_over(ladder(sums, not_asked), saver=InMemorySaver())
    for _ in range(MOST_DECISIONS):
        state = run(agent, thread="t")
    kept = state["tier_routing"]
    assert kept["tier"] == "small"
    assert [decision["router"] for decision in kept["decisions"]] == ["smallest-first"] * MOST_DECISIONS
    assert len(kept["warm"]) == 1
    assert len(json.dumps(kept)) < 10_000


def test_what_is_kept_is_plain_enough_for_a_strict_checkpointer(run: Run) -> None:
    agent = agent_over(ladder(sums, not_asked), saver=InMemorySaver(serde=StrictSerializer()))
    assert run(agent, thread="t")["tier_routing"]["tier"] == "small"
    assert agent.get_state({"configurable": {"thread_id": "t"}}).values["tier_routing"]["warm"]["small"]


def test_usage_and_cost_are_those_of_all_attempts_and_callbacks_count_each_once(run: Run) -> None:
    counted = UsageMetadataCallbackHandler()

    def named(reply: Reply) -> Reply:
        def said(messages: Messages) -> AIMessage:
            answer = reply(messages)
            message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
            return message.model_copy(update={"response_metadata": {"model_name": "m"}})

        return said

    state = run(agent_over(ladder(named(always("")), named(always("3")))), callbacks=[counted])
    message = state["messages"][-1]
    told = message.response_metadata["stellwerk"]
    spent = sum(call["usage"]["input"] for each in told["attempts"] for call in each["calls"])
    assert message.usage_metadata["input_tokens"] == spent > 0
    assert counted.usage_metadata["m"]["input_tokens"] == spent
    assert told["usd"] > 0


def test_attempts_are_traced_with_their_thread(run: Run) -> None:
    sink = Sink()
    agent = agent_over(ladder(always(""), sums), saver=InMemorySaver(), traces=sink)
    state = run(agent, thread="t")
    assert [(trace.tier, trace.verdict["accepted"]) for trace in sink.attempts] == [
        ("small", False),
        ("large", True),
    ] * 2
    assert {trace.thread_id for trace in sink.attempts} == {"t"}
    assert len({trace.trace_id for trace in sink.attempts}) == 4
    assert state["messages"][-1].response_metadata["stellwerk"]["trace_id"] == sink.attempts[-1].trace_id
    assert sink.attempts[0].messages[0].text == "You add."


def test_a_cascading_router_names_the_answer_that_is_served(run: Run) -> None:
    router = Chooses(climbs("small", "large"), cascades=True, serve=0)
    state = run(agent_over(ladder(always("A"), always("B")), router=router))
    assert (state["messages"][-1].content, tiers_of(state)) == ("A", ["small"])


def test_other_middleware_has_its_say(run: Run) -> None:
    class Shouts(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(system_prompt="SHOUT"))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(request.override(system_prompt="SHOUT"))

    small = Scripted(reply=sums)
    limit: Any = ModelCallLimitMiddleware(run_limit=1)
    state = run(agent_over(ladder(small, not_asked), Shouts(), limit))
    assert small.prompts[0].startswith("SHOUT")
    assert "limits exceeded" in state["messages"][-1].content


# Structured output


class Total(BaseModel):
    value: int = Field(ge=0)


@pytest.mark.parametrize("form", [Total, ToolStrategy(Total), ProviderStrategy(Total)])
def test_structured_output_that_does_not_fit_goes_up(run: Run, form: Any) -> None:
    def said(value: Any) -> Reply:
        if isinstance(form, ProviderStrategy):
            return always(json.dumps({"value": value}))
        return lambda messages: wants(("Total", {"value": value}))

    for bad in ("three", -1):  # the latter only the class refuses
        state = run(agent_over(ladder(said(bad), said(3)), format=form))
        assert state["structured_response"] == Total(value=3)
        assert tiers_of(state) == ["large"]


def test_structured_output_that_never_fits_raises_as_the_agent_does(run: Run) -> None:
    form = ToolStrategy(Total, handle_errors=False)
    with pytest.raises(StructuredOutputError):
        run(agent_over(ladder(*[lambda messages: wants(("Total", {"value": -1}))] * 2), format=form))


# The prompt cache


def priced(small: Reply | BaseChatModel, large: Reply | BaseChatModel, /, **prices: Price) -> Ladder:
    given = {"small": Price(input=1.0, output=1.0), "large": Price(input=3.0, cached=0.3, output=3.0)}
    models = {"small": small, "large": large}
    return Ladder(
        [
            Tier(
                name=name,
                model=model if isinstance(model, BaseChatModel) else Scripted(reply=model, cached=10**6),
                price=prices.get(name, given[name]),
            )
            for name, model in models.items()
        ]
    )


def first_large(brief: Any, history: Sequence[Any]) -> str | None:
    """The large tier for the first question of a thread, and the small one from then on."""
    if history:
        return None
    return "small" if brief.documents else "large"


LONG = "What is it? " * 100


def test_a_thread_stays_where_its_cache_is_worth_more_than_the_cheaper_tier(run: Run) -> None:
    agent = agent_over_router(priced(not_asked, always("ok")))
    run(agent, LONG, thread="t")
    state = run(agent, "And now?", thread="t")
    assert tiers_of(state) == ["large", "large"]
    decision = state["tier_routing"]["decisions"][-1]
    assert (decision["router"], decision["tier"]) == ("prompt-cache", "large")
    assert "large has the conversation cached" in decision["why"]
    assert "small, which chooses picked" in decision["why"]


def agent_over_router(tiers: Ladder, **fields: Any) -> Any:
    return agent_over(tiers, saver=InMemorySaver(), router=Chooses(first_large), **fields)


@pytest.mark.parametrize(
    "prices",
    [
        {"large": Price(input=3.0, cached=2.0, output=3.0)},  # the cache saves a third, the tier two
        {"large": Price(input=3.0, output=3.0)},  # the cache saves nothing
        {"small": Price(input=0.1, output=0.1)},
    ],
)
def test_a_thread_moves_where_the_cache_is_worth_less(run: Run, prices: dict[str, Price]) -> None:
    agent = agent_over_router(priced(always("ok"), always("ok"), **prices))
    run(agent, LONG, thread="t")
    assert tiers_of(run(agent, "And now?", thread="t")) == ["large", "small"]


def test_a_cache_that_is_too_old_or_not_believed_in_holds_nobody(run: Run) -> None:
    for seconds in (0.0, 1e-9):
        agent = agent_over_router(priced(always("ok"), always("ok")), cache_seconds=seconds)
        run(agent, LONG, thread="t")
        assert tiers_of(run(agent, "And now?", thread="t")) == ["large", "small"]
    with pytest.raises(ConfigurationError, match="cache_seconds is -1"):
        TierRouterMiddleware(priced(not_asked, not_asked), cache_seconds=-1)
    tiers: Any = list(priced(not_asked, not_asked))
    with pytest.raises(ConfigurationError, match="the ladder is a list; make it with Ladder"):
        TierRouterMiddleware(tiers)


def test_a_server_that_is_seen_to_cache_nothing_holds_nobody_any_more(run: Run) -> None:
    large = Scripted(reply=always("ok"), cached=0)
    agent = agent_over_router(priced(always("ok"), large))
    run(agent, LONG, thread="t")
    run(agent, "And now?", thread="t")
    assert tiers_of(run(agent, "And then?", thread="t")) == ["large", "large", "small"]


def test_a_dearer_tier_is_never_held_back(run: Run) -> None:
    def chosen(brief: Any, history: Sequence[Any]) -> str | None:
        return None if history else ("large" if brief.documents else "small")

    small = Price(input=1.0, cached=0.0, output=1.0)
    agent = agent_over(
        priced(always("ok"), always("ok"), small=small), saver=InMemorySaver(), router=Chooses(chosen)
    )
    run(agent, LONG, thread="t")
    assert tiers_of(run(agent, "And now?", thread="t")) == ["small", "large"]


def test_threads_do_not_know_of_each_other(run: Run) -> None:
    def chosen(brief: Any, history: Sequence[Any]) -> str | None:
        return None if history else ("large" if brief.instruction == LONG else "small")

    agent = agent_over(priced(always("ok"), always("ok")), saver=InMemorySaver(), router=Chooses(chosen))
    run(agent, LONG, thread="one")
    assert tiers_of(run(agent, "And now?", thread="two")) == ["small"]
    assert tiers_of(run(agent, "And now?", thread="one")) == ["large", "large"]


def test_threads_at_once_do_not_mix() -> None:
    here = threading.Barrier(6, timeout=20)

    def large(messages: Messages) -> str:
        here.wait()
        return f"large {messages[-1].text}"

    agent = agent_over(ladder(always(""), large), saver=InMemorySaver())
    given = [{"messages": [("human", str(number))]} for number in range(6)]
    configs: Any = [{"configurable": {"thread_id": str(number)}, "max_concurrency": 6} for number in range(6)]
    states = agent.batch(given, configs)
    assert [state["messages"][-1].content for state in states] == [f"large {number}" for number in range(6)]


# Streams


def streamed(agent: Any, sync: bool) -> list[Any]:
    given = {"messages": [("human", "Hello")]}

    async def collect() -> list[Any]:
        return [each async for each in agent.astream(given, stream_mode="messages")]

    told = list(agent.stream(given, stream_mode="messages")) if sync else asyncio.run(collect())
    return [message for message, _ in told if message.content or message.tool_calls]


def test_what_was_rejected_is_not_streamed(sync: bool) -> None:
    refusal = "I'm sorry, but I can't help with that."
    told = streamed(agent_over(ladder(always(refusal), streaming("one ", "two"))), sync)
    assert [message.content for message in told] == ["one two"]


def test_without_checks_an_agents_answer_is_streamed_as_it_comes(sync: bool) -> None:
    told = streamed(agent_over(ladder(streaming("one ", "two"), not_asked), check_replies=False), sync)
    assert [message.content for message in told] == ["one ", "two"]


# The extra


def test_without_the_extra_the_name_is_there_and_a_middleware_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("langchain.agents"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    tier_router._with_base.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'stellwerk\[agents\]'"):
        TierRouterMiddleware(ladder(not_asked, not_asked))
    monkeypatch.undo()
    assert isinstance(TierRouterMiddleware(ladder(not_asked, not_asked)), AgentMiddleware)


def test_a_class_of_ones_own_may_extend_it(run: Run) -> None:
    class Loud(TierRouterMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return super().wrap_model_call(request.override(system_prompt="LOUD"), handler)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await super().awrap_model_call(request.override(system_prompt="LOUD"), handler)

    small = Scripted(reply=sums)
    made = Loud(ladder(small, not_asked), Fixed("small"))
    assert (made.name, isinstance(made, Loud)) == ("Loud", True)
    run(create_agent(Scripted(reply=not_asked), [add], middleware=[made]))
    assert small.prompts[0].startswith("LOUD")
