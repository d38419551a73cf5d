"""What becomes of a subtask whose tier is exhausted, slow or down."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.outcome import Attempt, SubtaskResult
from stellwerk.plan import Subtask
from stellwerk.routers.smallest_first import Fixed
from stellwerk.tiers.gate import Gate
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Price, Tier
from stellwerk.worker import Worker
from tests.fakes import (
    Messages,
    Scripted,
    always,
    in_turn,
    make,
    mark_of,
    not_asked,
    plan,
    run,
    wants,
    worker,
)
from tests.tiers.faulty import WAIT, Does, closed_port, faulty, first
from tests.tiers.faulty import always as always_does

GOOD = always(json.dumps({"text": "done"}))


def tier(name: str, model: Any = GOOD, **fields: Any) -> Tier:
    chat = model if isinstance(model, Scripted) else Scripted(reply=model)
    price = Price(input=1.0, output=2.0) if name == "small" else Price(input=10.0, output=20.0)
    return Tier(**{"name": name, "model": chat, "price": price, **fields})


def result(tiers: list[Tier], *, sync: bool, budget: Budget | None = None, **options: Any) -> SubtaskResult:
    """What becomes of one subtask."""
    graph = create_orchestrator(
        [worker(**options.pop("worker", {}))], Ladder(tiers), synthesizer="join", budget=budget, **options
    ).compile()
    output = run(graph, {"task": "t", "plan": plan(a="")}, sync=sync)
    found: SubtaskResult = output["results"]["a"]
    return found


@contextmanager
def taken(held: Tier) -> Iterator[threading.Event]:
    """Its only place is taken, until the event is set."""
    ticket, release = held.gate.enter("other", 0, 0.0), threading.Event()

    def give_back() -> None:
        release.wait(WAIT)
        held.gate.leave(ticket, 0.0)

    with ThreadPoolExecutor(1) as pool:
        giving = pool.submit(give_back)
        try:
            yield release
        finally:
            release.set()
            giving.result(WAIT)


def somebody_waits(tier: Tier) -> None:
    """Return once a call waits for a place."""
    until = time.monotonic() + WAIT
    while not tier.gate.waiting:
        assert time.monotonic() < until
        threading.Event().wait(0.001)


class Releasing(Fixed):
    """Gives a place back once it is asked what to do after an attempt."""

    def __init__(self, tier: str, release: threading.Event) -> None:
        super().__init__(tier)
        self._release = release

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
    ) -> Decision:
        if history:
            self._release.set()
        return super().decide(subtask, worker, ladder, budget, history)


def test_an_exhausted_tier_is_left_for_the_next_one_up(sync: bool) -> None:
    small = tier("small", not_asked, max_concurrency=1, patience=0.05)
    with taken(small):
        found = result([small, tier("large")], sync=sync)
    assert found["status"] == "accepted"
    below, above = found["attempts"]
    assert (below["tier"], below["verdict"].get("reason")) == ("small", "unavailable")
    assert below["calls"][0]["waited"] >= 0.05
    assert above["tier"] == "large"


@pytest.mark.parametrize("budget", [Budget(attempts=1), Budget(usd=0.002)], ids=["attempts", "money"])
def test_where_the_budget_allows_no_other_tier_an_exhausted_one_is_waited_for(
    sync: bool, budget: Budget
) -> None:
    small = tier("small", max_concurrency=1, patience=0.0)
    with taken(small) as release, ThreadPoolExecutor(1) as pool:
        job = pool.submit(result, [small, tier("large", not_asked)], sync=sync, budget=budget)
        somebody_waits(small)
        release.set()
        found = job.result(WAIT)
    (attempt,) = found["attempts"]
    assert (found["status"], attempt["tier"]) == ("accepted", "small")
    assert attempt["calls"][0]["waited"] > 0


def test_where_the_router_knows_no_other_tier_an_exhausted_one_is_waited_for(sync: bool) -> None:
    small = tier("small", max_concurrency=1, patience=0.05)
    with taken(small) as release:
        router = Releasing("small", release)
        found = result([small, tier("large", not_asked)], sync=sync, router=router)
    assert found["status"] == "accepted"
    gave_up, waited = found["attempts"]
    assert gave_up["verdict"].get("reason") == "unavailable"
    assert waited["tier"] == "small"
    assert "waits for it" in waited["decision"]["why"]


def test_tiers_on_the_same_hardware_are_not_left_for_each_other(sync: bool) -> None:
    gate = Gate(1)
    small = tier("small", gate=gate, patience=0.0)
    with taken(small) as release, ThreadPoolExecutor(1) as pool:
        job = pool.submit(result, [small, tier("large", not_asked, gate=gate)], sync=sync)
        somebody_waits(small)
        release.set()
        assert [attempt["tier"] for attempt in job.result(WAIT)["attempts"]] == ["small"]


def test_nothing_is_waited_for_for_ever(sync: bool) -> None:
    small = tier("small", not_asked, max_concurrency=1, max_wait=0.1)
    with taken(small):
        found = result([small], sync=sync)
    assert (found["status"], found.get("reason")) == ("failed", "unavailable")
    assert "'small' had no place for the call" in found.get("detail", "")


def test_a_rejected_answer_is_not_taken_up_where_that_costs_more_than_allowed(sync: bool) -> None:
    bad = always(json.dumps({"text": ""}))
    tiers = [tier("small", bad), tier("large", not_asked)]
    found = result(tiers, sync=sync, budget=Budget(usd=0.0002), worker={"max_tokens": 16})
    assert (found["status"], found.get("reason"), len(found["attempts"])) == ("failed", "schema", 1)
    found = result([tier("small", bad), tier("large")], sync=sync, budget=Budget(usd=1.0))
    assert found["status"] == "accepted"


def test_a_tier_without_a_price_is_not_moved_up_to_under_a_limit_of_money(sync: bool) -> None:
    bad = always(json.dumps({"text": ""}))
    tiers = [tier("small", bad), tier("large", not_asked, price=None)]
    assert len(result(tiers, sync=sync, budget=Budget(usd=1000.0))["attempts"]) == 1


def test_the_seconds_of_a_subtask_are_over_all_its_attempts() -> None:
    async def hang(messages: Messages) -> None:
        await asyncio.wait_for(asyncio.Event().wait(), WAIT)

    models = [Scripted(reply=GOOD, abefore=hang) for _ in range(2)]
    tiers = [tier(name, model) for name, model in zip(("small", "large"), models, strict=True)]
    started = time.monotonic()
    found = result(tiers, sync=False, budget=Budget(seconds=0.3))
    assert 0.3 <= time.monotonic() - started < WAIT
    assert (found["status"], found.get("reason")) == ("failed", "timeout")
    assert [model.calls for model in models] == [1, 0]  # nothing was left for the second


def test_a_server_that_hangs_is_a_reason_of_its_own(sync: bool) -> None:
    with faulty(always_does(Does(hang=True))) as server:
        slow = openai_tier("slow", model="m", base_url=server.url, price=Price(), timeout=0.2)
        found = result([slow, tier("large")], sync=sync)
    assert found["status"] == "accepted"
    assert found["attempts"][0]["verdict"].get("reason") == "timeout"


def test_what_was_lost_on_the_way_is_in_the_bill(sync: bool) -> None:
    answer = Does(json.dumps({"text": "done"}))
    with faulty(first(Does("a long answer " * 50, cut=0.5), Does("no", status=500), then=answer)) as server:
        remote = openai_tier("small", model="m", base_url=server.url, price=Price(input=1.0, output=2.0))
        graph = create_orchestrator([worker()], Ladder([remote]), synthesizer="join").compile()
        output = run(graph, {"task": "t", "plan": plan(a="")}, sync=sync)
    cut_off, refused, answered = output["results"]["a"]["attempts"][0]["calls"]
    assert cut_off["usage"]["input"] > 0  # estimated; the server has read the prompt
    assert refused["usage"]["input"] == 0
    assert "error" in cut_off
    assert "no" in refused["error"]
    assert answered["usage"] == {"input": 100, "cached": 0, "output": 10}
    assert "error" not in answered
    total = output["ledger"]["total"]
    assert total["calls"] == 3
    assert total["usd"] == pytest.approx((cut_off["usage"]["input"] + 100 + 2 * 10) / 1e6)


@pytest.mark.parametrize("kind", ["hangs", "is gone"])
def test_an_outage_does_not_cost_every_subtask_a_timeout(kind: str) -> None:
    with faulty(always_does(Does(hang=True))) as server:
        url = server.url if kind == "hangs" else f"http://127.0.0.1:{closed_port()}/v1"
        down = openai_tier(
            "down", model="m", base_url=url, price=Price(), timeout=0.3, patience=1.0, max_concurrency=4
        )
        graph = create_orchestrator([worker()], Ladder([down, tier("large", make)]), synthesizer="join")
        names = {f"s{number}": "" for number in range(100)}
        output = asyncio.run(graph.compile().ainvoke({"task": "t", "plan": plan(**names)}))
        assert {each["status"] for each in output["results"].values()} == {"accepted"}
        assert server.requests <= 12
    reasons = output["ledger"]["rejected"]
    assert set(reasons) <= {"timeout", "unavailable"}
    assert reasons.get("timeout", 0) <= 12


def test_a_large_run_does_not_starve_a_small_one() -> None:
    order: list[str] = []
    begun = asyncio.Event()

    async def note(messages: Messages) -> None:
        order.append(mark_of(messages))
        begun.set()
        await asyncio.sleep(0.002)

    shared = tier("small", Scripted(reply=make, abefore=note), max_concurrency=1)
    graph = create_orchestrator([worker()], Ladder([shared]), synthesizer="join").compile(
        checkpointer=InMemorySaver()
    )

    async def both() -> None:
        large = {f"large-{number}": "" for number in range(60)}
        small = {f"small-{number}": "" for number in range(3)}
        running = asyncio.create_task(invoke("large", large))
        await asyncio.wait_for(begun.wait(), WAIT)
        await invoke("small", small)
        await running

    async def invoke(thread: str, needs: dict[str, str]) -> None:
        await graph.ainvoke({"task": "t", "plan": plan(**needs)}, {"configurable": {"thread_id": thread}})

    asyncio.run(both())
    assert len(order) == 63
    last = max(number for number, mark in enumerate(order) if mark.startswith("small"))
    first_small = min(number for number, mark in enumerate(order) if mark.startswith("small"))
    assert last - first_small <= 8  # they take turns, once the small one is there
    assert last < 60


@pytest.mark.parametrize("limit", [{"seconds": 0}, {"usd": 0}, {"seconds": -1.0}])
def test_an_impossible_budget_is_refused(limit: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=r"has to be above 0"):
        Budget(**limit)  # type: ignore[arg-type]


def test_what_an_attempt_with_tools_costs_is_all_of_its_calls(sync: bool) -> None:
    @tool
    def read(page: int) -> str:
        """Read a page."""
        return "nothing"

    def small() -> Tier:
        return tier("small", in_turn(wants(("read", {"page": 1})), "{}", "{}"))

    options: dict[str, Any] = {"tools": [read], "repairs": 0}
    found = result([small()], sync=sync, worker=dict(options))
    (attempt,) = found["attempts"]
    assert len(attempt["calls"]) == 3
    spent = sum(Price(input=1.0, output=2.0).usd(call["usage"]) for call in attempt["calls"])
    short, enough = (
        Budget(usd=spent + 9 * spent),
        Budget(usd=spent + 11 * spent),
    )  # the large tier is ten times
    found = result([small(), tier("large", not_asked)], sync=sync, budget=short, worker=dict(options))
    assert [attempt["tier"] for attempt in found["attempts"]] == ["small"]
    found = result([small(), tier("large")], sync=sync, budget=enough, worker=dict(options))
    assert found["status"] == "accepted"


def test_seconds_that_are_over_while_a_call_waits_are_a_timeout(sync: bool) -> None:
    small = tier("small", max_concurrency=1)
    with taken(small):
        found = result([small, tier("large")], sync=sync, budget=Budget(seconds=0.3, attempts=2))
    assert found["attempts"][0]["verdict"].get("reason") == "timeout"
