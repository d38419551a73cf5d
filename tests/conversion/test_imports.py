"""Logs of other tools become traces, each call once, whatever else is in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.langchain import LangChainTracer

pytest.importorskip("langchain.agents", reason="langchain is not installed; it comes with stellwerk[agents]")

from langchain.agents import create_agent

from stellwerk import Price, TraceRecorder, TraceStore
from stellwerk.conversion.collect import Collected, collect
from stellwerk.conversion.imports.formats import FORMATS, PARSERS
from stellwerk.conversion.imports.parsed import ImportOptions
from stellwerk.errors import InputError
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.trace import StoredAttempt
from tests.conversion.programs import model
from tests.fakes import in_turn, wants

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALLED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
COMPLETION: Any = {
    "request": {
        "model": "gpt-4.1",
        "messages": [{"role": "developer", "content": "Be exact."}, {"role": "user", "content": "How many?"}],
        "tools": TOOLS,
        "user": "ada",
        "metadata": {"call_site": "count", "thread_id": "t1"},
    },
    "response": {
        "id": "chatcmpl-1",
        "created": 1_772_366_400,
        "model": "gpt-4.1-2025-04-14",
        "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [CALLED]}}
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
    },
    "latency_ms": 1500,
}
CHAT: Any = {
    "messages": [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "many?"}]},
        {"role": "assistant", "content": "", "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "c1", "content": "seen it"},
        {"role": "assistant", "content": "five"},
    ],
    "tools": TOOLS,
}
RUN_ID, TRACE_ID = str(uuid4()), str(uuid4())
RUN: Any = {
    "id": RUN_ID,
    "trace_id": TRACE_ID,
    "parent_run_id": TRACE_ID,
    "name": "ChatOpenAI",
    "run_type": "llm",
    "start_time": "2026-03-01T12:00:00.000000",
    "end_time": "2026-03-01T12:00:02.500000+00:00",
    "extra": {
        "invocation_params": {"model": "gpt-4.1", "tools": TOOLS},
        "metadata": {
            "ls_model_name": "gpt-4.1",
            "ls_provider": "openai",
            "thread_id": "t1",
            "user_id": "ada",
            "langgraph_node": "agent",
            "langgraph_checkpoint_ns": f"team:{uuid4()}|agent:{uuid4()}",
        },
    },
    "inputs": {
        "messages": [
            [
                {
                    "lc": 1,
                    "type": "constructor",
                    "id": ["a", "HumanMessage"],
                    "kwargs": {"content": "How many?", "type": "human"},
                }
            ]
        ]
    },
    "outputs": {
        "generations": [
            [
                {
                    "text": "five",
                    "generation_info": {"finish_reason": "stop"},
                    "message": {
                        "lc": 1,
                        "type": "constructor",
                        "id": ["a", "AIMessage"],
                        "kwargs": {"content": "five", "type": "ai"},
                    },
                }
            ]
        ]
    },
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "prompt_token_details": {"cache_read": 40},
    "total_cost": "0.0123",
}
ROOT: Any = {
    "id": TRACE_ID,
    "trace_id": TRACE_ID,
    "name": "LangGraph",
    "run_type": "chain",
    "status": "success",
    "start_time": "2026-03-01T12:00:00",
    "end_time": "2026-03-01T12:00:03",
    "inputs": {"messages": [{"role": "user", "content": "How many?"}]},
    "extra": {"metadata": {"thread_id": "t1", "user_id": "ada"}},
}
GENERATION: Any = {
    "id": "obs-1",
    "traceId": "trace-1",
    "type": "GENERATION",
    "name": "count",
    "startTime": "2026-03-01T12:00:00.000Z",
    "endTime": "2026-03-01T12:00:02.500Z",
    "model": "gpt-4.1",
    "modelParameters": {"temperature": 0},
    "input": {"messages": [{"role": "user", "content": "How many?"}], "tools": TOOLS},
    "output": {"role": "assistant", "content": "five"},
    "usageDetails": {"input": 60, "input_cached_tokens": 40, "output": 10, "total": 110},
    "costDetails": {"total": 0.0123},
    "metadata": {"stellwerk_call_site": "count"},
    "level": "DEFAULT",
}
TRACE: Any = {
    "id": "trace-1",
    "userId": "ada",
    "sessionId": "t1",
    "observations": [GENERATION, {**GENERATION, "id": "obs-2", "type": "SPAN"}, "obs-3"],
    "scores": [
        {
            "id": "s1",
            "name": "helpful",
            "value": 1,
            "source": "EVAL",
            "comment": "yes",
            "timestamp": "2026-03-01T12:01:00Z",
        }
    ],
}
TRAJECTORY: Any = {
    "task_id": 0,
    "trial": 1,
    "reward": 1.0,
    "traj": CHAT["messages"],
    "info": {"task": {"user_id": "ada"}},
}
SAMPLES: dict[str, Any] = {
    "openai": COMPLETION,
    "langsmith": RUN,
    "langfuse": TRACE,
    "trajectory": TRAJECTORY,
}
KEY = b"a key of at least sixteen bytes"


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[TraceStore]:
    with TraceStore.from_url("sqlite://", origin_keys=[KEY]) as store:
        yield store


@pytest.fixture
def bring(tmp_path: Path, traces: TraceStore) -> Any:
    """Import rows, as JSON lines."""

    def bring(*rows: Any, **options: Any) -> Collected:
        file = tmp_path / "log.jsonl"
        file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        return collect([file], traces, options=ImportOptions(**options))

    return bring


def one(traces: TraceStore) -> StoredAttempt:
    (found,) = traces.attempts()
    return found


def check_known(found: StoredAttempt, traces: TraceStore) -> None:
    """What all samples of one call say alike."""
    assert (found["model"], found["tier"], found["accepted"]) == ("gpt-4.1", "gpt-4.1", True)
    assert (found["input"], found["cached"], found["output"]) == (100, 40, 10)
    assert [message for message in found["prompt"] or [] if message["role"] == "user"] == [
        {"role": "user", "content": "How many?"}
    ]
    assert f"{found['created_at']:%Y-%m-%d %H:%M}" == "2026-03-01 12:00"
    assert traces.offered(found["offered"] or "") == TOOLS
    assert found["thread_id"] != "t1"
    assert len(list(traces.attempts(thread_id="t1"))) == 1


def test_a_request_with_its_response_is_a_call(bring: Any, traces: TraceStore) -> None:
    assert bring(COMPLETION).counts()["new"] == 1
    found = one(traces)
    check_known(found, traces)
    assert (found["worker"], found["answer"], found["seconds"]) == ("count", None, 1.5)
    assert [(use["name"], use["args"]) for use in found["tools"]] == [("look", {"at": "it"})]
    assert found["usd"] == pytest.approx((60 * 2 + 40 * 0.5 + 10 * 8) / 1e6)
    assert (found["prompt"] or [])[0] == {"role": "system", "content": "Be exact."}


def test_each_answer_of_a_chat_is_a_call_and_a_chat_that_goes_on_repeats_none(
    bring: Any, traces: TraceStore
) -> None:
    shorter = {**CHAT, "messages": CHAT["messages"][:3]}
    assert bring(shorter, CHAT).counts()["new"] == 2
    last, first = sorted(traces.attempts(), key=lambda found: len(found["prompt"] or []), reverse=True)
    assert (first["answer"], first["tools"][0]["args"], len(first["prompt"] or [])) == (None, {"at": "it"}, 2)
    assert (last["answer"], len(last["prompt"] or [])) == ("five", 4)
    assert {found["worker"] for found in (first, last)} == {"chat"}


def test_a_run_of_langsmith_is_a_call_and_its_root_says_how_it_ended(bring: Any, traces: TraceStore) -> None:
    done = bring(ROOT, RUN, {**RUN, "id": str(uuid4()), "run_type": "tool"})
    assert (done.counts()["new"], done.others) == (1, 1)
    found = one(traces)
    check_known(found, traces)
    assert (found["trace_id"], found["run_id"]) == (RUN_ID.replace("-", ""), TRACE_ID)
    assert (found["worker"], found["answer"], found["usd"], found["seconds"]) == (
        "team/agent",
        "five",
        0.0123,
        2.5,
    )
    (run,) = traces.runs()
    assert (run["run_id"], run["outcome"], run["task"]) == (TRACE_ID, "ok", "How many?")


def test_a_generation_of_langfuse_is_a_call_with_the_scores_of_its_trace(
    bring: Any, traces: TraceStore
) -> None:
    assert bring(TRACE).counts()["new"] == 1
    found = one(traces)
    check_known(found, traces)
    assert (found["worker"], found["answer"], found["usd"], found["seconds"]) == (
        "count",
        "five",
        0.0123,
        2.5,
    )
    (said,) = traces.feedback()
    assert (said["run_id"], said["score"], said["who"], said["source"]) == (
        "trace-1",
        1.0,
        "helpful",
        "judge",
    )
    snake = {"id": "obs-1", "trace_id": "trace-1", "type": "GENERATION", "start_time": "2026-03-01T12:00:00Z"}
    flat = {
        **snake,
        "provided_model_name": "gpt-4.1",
        "input": '[{"role":"user","content":"How many?"}]',
        "output": "five",
    }
    assert bring(flat).counts()["known"] == 1


def test_a_trajectory_is_a_run_with_a_reward(bring: Any, traces: TraceStore) -> None:
    assert (
        bring(TRAJECTORY, {**TRAJECTORY, "trial": 2, "reward": 0.0}, user_key="info.task.user_id").counts()[
            "new"
        ]
        == 4
    )
    first, *_ = sorted(traces.attempts(), key=lambda found: len(found["prompt"] or []))
    assert (first["worker"], first["tools"][0]["output"]) == ("agent", "seen it")
    assert sorted(run["outcome"] for run in traces.runs()) == ["failed", "ok"]
    assert sorted(said["score"] or 0.0 for said in traces.feedback()) == [0.0, 1.0]
    assert {run["task"] for run in traces.runs()} == {"How\nmany?"}


def test_what_is_imported_twice_is_there_once(bring: Any, traces: TraceStore) -> None:
    for rows in ([COMPLETION], [CHAT, CHAT], [ROOT, RUN], [TRACE], [TRAJECTORY]):
        bring(*rows)
    before = [*traces.attempts(), *traces.runs(), *traces.feedback()]
    for rows in ([COMPLETION], [CHAT, CHAT], [ROOT, RUN], [TRACE], [TRAJECTORY]):
        assert bring(*rows).counts()["new"] == 0
    after = [*traces.attempts(), *traces.runs(), *traces.feedback()]
    assert [{**each, "updated_at": None, "started_at": None} for each in after] == [
        {**each, "updated_at": None, "started_at": None} for each in before
    ]
    assert len(before) == 7 + 2 + 2


class Captured:
    """A client of LangSmith that keeps what it is given."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: Any, run_type: str, **more: Any) -> None:
        self.runs[str(more["id"])] = {"name": name, "inputs": inputs, "run_type": run_type, **more}

    def update_run(self, run_id: Any, **more: Any) -> None:
        self.runs[str(run_id)] |= {name: value for name, value in more.items() if value is not None}

    def __getattr__(self, name: str) -> Any:
        return None


def test_what_langsmith_recorded_of_a_program_is_what_the_recorder_recorded(
    bring: Any, traces: TraceStore, tmp_path: Path
) -> None:
    client: Any = Captured()
    agent: Any = create_agent(
        model(in_turn(wants(("look", {"at": "it"})), "done")), [_look], system_prompt="Be exact.", name="lead"
    )
    config: RunnableConfig = {
        "callbacks": [TraceRecorder(traces), LangChainTracer(client=client)],
        "configurable": {"thread_id": "t1"},
    }
    agent.invoke({"messages": [("human", "How many?")]}, config)
    traces.flush()
    recorded = {found["trace_id"]: found for found in traces.attempts()}
    runs = [json.loads(json.dumps(run, default=str)) for run in client.runs.values()]
    assert bring(*runs).counts() | {"others": 0} == {
        **dict.fromkeys(("bad", "others", "hci", "own", "new", "denied", "refused"), 0),
        "rows": len(runs),
        "known": 2,
    }
    with TraceStore.from_url("sqlite://", origin_keys=[KEY]) as other:
        file = tmp_path / "runs.json"
        file.write_text(json.dumps(runs, indent=1))
        collect([file], other)
        for found in other.attempts():
            same = recorded[found["trace_id"]]
            for name in (
                "prompt",
                "answer",
                "worker",
                "worker_version",
                "thread_id",
                "run_id",
                "origin",
                "offered",
            ):
                assert found[name] == same[name], name
        assert [run["outcome"] for run in other.runs()] == ["ok"]


def _look(at: str) -> str:
    """Look at something."""
    return f"seen {at}"


def test_errors_and_cut_off_answers_are_no_answers(bring: Any, traces: TraceStore) -> None:
    failed = {**COMPLETION, "response": {"id": "x", "error": {"type": "rate_limit", "message": "sk-secret"}}}
    length: Any = copy.deepcopy(COMPLETION)
    length["response"]["id"] = "y"
    length["response"]["choices"][0] = {"finish_reason": "length", "message": {"content": "fi"}}
    broken: Any = copy.deepcopy(COMPLETION)
    broken["response"]["id"] = "z"
    broken["response"]["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = "{oops"
    bring(failed, length, broken)
    assert sorted(str(found["reason"]) for found in traces.attempts()) == ["length", "not_json", "tier"]
    bring({**RUN, "id": str(uuid4()), "error": "RateLimitError('sk-secret')", "outputs": None})
    bring(
        {
            **GENERATION,
            "id": "obs-9",
            "level": "ERROR",
            "statusMessage": "sk-secret was refused",
            "output": None,
        }
    )
    details = [found["detail"] for found in traces.attempts(reason="tier")]
    assert sorted(map(str, details)) == ["RateLimitError", "error", "rate_limit"]


def test_what_talks_to_a_person_and_what_is_our_own_is_left_out(bring: Any, traces: TraceStore) -> None:
    own = copy.deepcopy(RUN) | {"id": str(uuid4())}
    own["extra"]["metadata"]["stellwerk_worker"] = "extract"
    marked = copy.deepcopy(RUN) | {"id": str(uuid4())}
    marked["extra"]["metadata"]["stellwerk_hci"] = True
    done = bring(RUN, own, marked, hci=["team"], program="shop")
    assert (done.hci, done.own, done.counts()["new"]) == (1, 1, 1)
    done = bring({**RUN, "id": str(uuid4())}, hci=["shop/team/*"], program="shop")
    assert (done.hci, done.counts()["new"]) == (1, 0)


def test_consent_holds_for_what_is_imported(bring: Any, traces: TraceStore) -> None:
    traces.consents.set("t1", "denied")
    refused = {**COMPLETION, "thread_id": "t2", "metadata": {"stellwerk_consent": False}}
    done = bring(COMPLETION, {**refused, "response": {**COMPLETION["response"], "id": "n"}}, CHAT)
    assert (done.counts()["denied"], done.counts()["new"]) == (2, 2)


def test_bad_rows_are_counted_and_named_and_end_nothing(bring: Any, traces: TraceStore) -> None:
    rows = [
        COMPLETION,
        "{broken",
        {"request": {"messages": 5}, "response": {"id": "q", "choices": [{}]}},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": []},
        {"request": {"messages": []}, "response": {"object": "chat.completion"}},
        {"something": "else"},
    ]
    done = bring(*rows)
    assert (done.rows, done.bad, done.counts()["new"]) == (7, 6, 1)
    assert [bad.line for bad in done.shown] == [2, 3, 4, 5, 6, 7]
    told = "\n".join(bad.why for bad in done.shown)
    for why in (
        "it is not JSON",
        "there are no messages, but int",
        "the role 'wizard'",
        "neither choices nor an error",
    ):
        assert why in told


def test_what_ran_is_in_the_log_of_the_conversion(bring: Any, traces: TraceStore, tmp_path: Path) -> None:
    told: list[int] = []
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(json.dumps({**CHAT, "id": str(number)}) for number in range(250)))
    collect([file], traces, tell=lambda done: told.append(done.rows))
    assert told == [100, 200, 250]
    (step,) = ConversionStore(traces.database).conversions()
    assert (step.state, step.parameters) == ("done", {"files": ["chats.jsonl"], "format": None})
    assert (step.counts["new"], step.report) == (500, {"call_sites": {"chat": 500}})
    with pytest.raises(InputError, match="cannot read"):
        collect([tmp_path / "none"], traces)
    assert ConversionStore(traces.database).conversions()[0].state == "failed"
    empty = tmp_path / "empty.json"
    empty.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"empty.json: the format cannot be told.*openai, langsmith"):
        collect([empty], traces)


def test_prices_of_ones_own_go_before_those_of_the_log(bring: Any, traces: TraceStore) -> None:
    bring(RUN, prices={"gpt-4.1": Price(input=1e6)})
    assert one(traces)["usd"] == 100.0


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_field_the_import_goes_on_and_twice_is_once(
    data: st.DataObject, bring: Any, traces: TraceStore
) -> None:
    """Any one value of a good row is replaced by anything, at any depth."""
    row = copy.deepcopy(SAMPLES[data.draw(st.sampled_from(FORMATS))])
    place: Any = row
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    first = bring(COMPLETION, row).counts()
    again = bring(COMPLETION, row).counts()
    assert again["new"] == again["refused"] == first["refused"] == 0
    assert first["rows"] == again["rows"] == 2
    assert first["bad"] == again["bad"]


def test_every_format_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(FORMATS) == set(PARSERS)
