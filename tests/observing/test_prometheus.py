"""What a scrape sees."""

import asyncio
import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from prometheus_client import CollectorRegistry, generate_latest

from stellwerk.graphs import create_orchestrator
from stellwerk.observing.prometheus import Prometheus
from stellwerk.tiers import Ladder, Price, Tier
from tests.fakes import (
    WAIT,
    Scripted,
    Signals,
    broken,
    in_turn,
    ladder,
    make,
    mark_of,
    paced,
    plan,
    run,
    wants,
    worker,
)


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """Samples that are not zero, without those of buckets."""
    text = generate_latest(registry).decode()
    found = re.findall(r"^(stellwerk_\S+) (\S+)$", text, re.MULTILINE)
    return {
        name: float(value)
        for name, value in found
        if float(value) and not re.search("_bucket|_created", name)
    }


def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


def small(messages: Sequence[BaseMessage]) -> str:
    return "no" if mark_of(messages) == "b" else make(messages)


def test_a_run_is_counted(sync: bool) -> None:
    registry = CollectorRegistry()
    model = Scripted(reply=small, cached=5)
    tiers = Ladder(
        [
            Tier(name="small", model=model, price=Price(input=1.0, output=2.0)),
            Tier(name="large", model=Scripted(reply=make), price=Price(input=10.0, output=20.0)),
        ]
    )
    made = create_orchestrator(
        [worker()], tiers, synthesizer="join", observers=[Prometheus(registry)]
    ).compile()
    output = run(made, {"task": "Do", "plan": plan(a="", b="")}, sync=sync)
    found, by_tier = scraped(registry), output["ledger"]["by_tier"]
    for name, value in {
        'runs_total{outcome="ok"}': 1,
        'subtasks_total{status="accepted",worker="make"}': 2,
        'attempts_total{reason="",tier="small",verdict="accepted",worker="make"}': 1,
        'attempts_total{reason="not_json",tier="small",verdict="rejected",worker="make"}': 1,
        'attempts_total{reason="",tier="large",verdict="accepted",worker="make"}': 1,
        'escalations_total{tier="large",worker="make"}': 1,
        'tokens_total{kind="cached",tier="small"}': by_tier["small"]["cached"],
        'tokens_total{kind="input",tier="small"}': by_tier["small"]["input"] - by_tier["small"]["cached"],
        'tokens_total{kind="output",tier="large"}': by_tier["large"]["output"],
        'subtask_seconds_count{worker="make"}': 2,
        "run_seconds_count": 1,
        'queue_seconds_count{tier="small"}': 3,
    }.items():
        assert found[f"stellwerk_{name}"] == value, name
    for tier, line in by_tier.items():
        assert abs(found[f'stellwerk_usd_total{{tier="{tier}"}}'] - line["usd"]) < 1e-12
    assert not [name for name in found if "running" in name]


def test_failures_interruptions_and_tools_are_told_apart(sync: bool) -> None:
    registry = CollectorRegistry()
    observer = Prometheus(registry)
    failing = create_orchestrator(
        [worker()], ladder(broken, broken), synthesizer="join", observers=[observer]
    )
    run(failing.compile(), {"task": "Do", "plan": plan(a="", b="a")}, sync=sync)
    asking = in_turn(wants(("double", {"n": 2})), '{"text": "4"}')
    tooled = create_orchestrator(
        [worker(tools=[double])], ladder(asking, make), synthesizer="join", observers=[Prometheus(registry)]
    )
    run(tooled.compile(), {"task": "Do", "plan": plan(a="")}, sync=sync)
    found = scraped(registry)
    assert found['stellwerk_runs_total{outcome="failed"}'] == 1
    assert found['stellwerk_subtasks_total{status="skipped",worker="make"}'] == 1
    assert found['stellwerk_attempts_total{reason="tier",tier="large",verdict="rejected",worker="make"}'] == 1
    assert found['stellwerk_calls_total{outcome="failed",tier="small"}'] == 1
    assert found['stellwerk_tool_calls_total{outcome="ok",worker="make"}'] == 1


async def test_what_runs_can_be_seen() -> None:
    registry, signals = CollectorRegistry(), Signals()
    model = paced(signals, {"a": ["go on"], "b": ["go on"]})
    made = create_orchestrator(
        [worker()], ladder(model, make), synthesizer="join", observers=[Prometheus(registry)]
    ).compile()
    running = asyncio.ensure_future(made.ainvoke({"task": "Do", "plan": plan(a="", b="")}))
    for mark in "ab":
        await asyncio.wait_for(signals.wait_async(f"{mark} began"), WAIT)
    found = scraped(registry)
    assert found["stellwerk_runs_running"] == 1
    assert found["stellwerk_subtasks_running"] == 2
    assert found['stellwerk_calls_running{tier="small"}'] == 2
    signals.send("go on")
    await running
    assert not [name for name in scraped(registry) if "running" in name]
