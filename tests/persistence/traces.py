"""Traces for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from stellwerk.outcome import Call, DecisionRecord, ToolUse, Usage, Verdict
from stellwerk.routing_context import RoutingContext
from stellwerk.trace import AttemptTrace, RunTrace, trace_id

CONTEXT = RoutingContext(
    worker="extract",
    worker_version="abc",
    instruction="Find the secret",
    prompt=9,
    fields=1,
    choices=0,
    depth=1,
    tools=["look"],
    max_tokens=512,
    source=200,
    inputs=0,
    position=0,
    size=1,
)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def attempt(number: int = 1, **changed: Any) -> AttemptTrace:
    """The attempt of a subtask that bears its number, ended so many seconds after noon."""
    run_id, thread_id = changed.get("run_id", "run"), changed.get("thread_id", "thread")
    use = ToolUse(id="1", name="look", args={"at": "secret"}, output="a secret", failed=False, seconds=0.5)
    call = Call(
        step="generate",
        owner="extract",
        tier="small",
        usage=Usage(input=100, cached=40, output=7),
        seconds=1.5,
        tools=[use],
    )
    decision = DecisionRecord(
        tier="small",
        router="smallest_first",
        version="3",
        propensity=0.9,
        why="it is able",
        estimates={"small": {"accept": 0.8, "usd": 0.001}},
    )
    values: dict[str, Any] = {
        "trace_id": trace_id(thread_id, run_id, "execute:1", str(number), 1),
        "run_id": run_id,
        "thread_id": thread_id,
        "subtask": str(number),
        "worker": "extract",
        "worker_version": "abc",
        "tier": "small",
        "model": "qwen",
        "number": 1,
        "decision": decision,
        "verdict": Verdict(accepted=True),
        "calls": [call],
        "value": {"text": "five"},
        "messages": [SystemMessage("Be exact."), HumanMessage("How many?"), AIMessage("wait")],
        "answer": '{"text": "five"}',
        "checks": {"stands_in_the_text": True},
        "usd": 0.002,
        "context": CONTEXT,
        "episode": trace_id(thread_id, run_id, "execute:1", str(number), 0),
        "created_at": NOON + timedelta(seconds=number),
        **changed,
    }
    return AttemptTrace(**values)


def run(run_id: str = "run", **changed: Any) -> RunTrace:
    values: dict[str, Any] = {
        "run_id": run_id,
        "thread_id": "thread",
        "task": "Count them",
        "outcome": "ok",
        "started_at": NOON,
        "updated_at": NOON,
        **changed,
    }
    return RunTrace(**values)
