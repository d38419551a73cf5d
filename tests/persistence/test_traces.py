"""Traces come back as they were told, on every database."""

import asyncio
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.outcome import Verdict, answer_digest
from stellwerk.persistence.schema.columns import digest
from stellwerk.persistence.traces import TraceStore
from tests.persistence.traces import CONTEXT, NOON, attempt, run


@pytest.fixture
def store(url: str) -> Iterator[TraceStore]:
    with TraceStore.from_url(url) as store:
        yield store


def test_an_attempt_comes_back_whole(store: TraceStore) -> None:
    told = attempt()
    store.attempt(told)
    (found,) = store.attempts()
    assert found == {
        "trace_id": told.trace_id,
        "run_id": "run",
        "thread_id": "thread",
        "subtask": "1",
        "worker": "extract",
        "worker_version": "abc",
        "tier": "small",
        "model": "qwen",
        "number": 1,
        "decision": told.decision,
        "accepted": True,
        "reason": None,
        "detail": None,
        "checks": {"stands_in_the_text": True},
        "content": "full",
        "prompt": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "How many?"},
            {"role": "assistant", "content": "wait"},
        ],
        "answer": '{"text": "five"}',
        "prompt_hash": None,
        "answer_hash": None,
        "value": {"text": "five"},
        "value_hash": answer_digest({"text": "five"}),
        "tools": told.calls[0]["tools"],
        "calls": [{name: value for name, value in told.calls[0].items() if name != "tools"}],
        "input": 100,
        "cached": 40,
        "output": 7,
        "usd": 0.002,
        "seconds": 1.5,
        "logprobs": None,
        "context": CONTEXT,
        "episode": told.episode,
        "origin": digest("thread").hex(),
        "offered": None,
        "created_at": NOON + timedelta(seconds=1),
    }


def test_bare_attempts_are_the_same_without_what_was_said(store: TraceStore) -> None:
    for number in range(3):
        store.attempt(attempt(number))
    whole = list(store.attempts(newest_first=False, until=NOON + timedelta(seconds=2)))
    bare = list(store.bare_attempts(newest_first=False, until=NOON + timedelta(seconds=2)))
    assert [found["subtask"] for found in bare] == ["0", "1"]
    assert [{name: full[name] for name in lean} for full, lean in zip(whole, bare, strict=True)] == bare  # type: ignore[literal-required]
    assert not {"prompt", "answer", "value", "tools", "detail"} & bare[0].keys()


def test_a_rejected_attempt_says_why(store: TraceStore) -> None:
    verdict = Verdict(accepted=False, reason="check", detail="stands_in_the_text: it does not")
    store.attempt(attempt(verdict=verdict, checks={"stands_in_the_text": False}, value=None, decision=None))
    (found,) = store.attempts(accepted=False)
    assert (found["reason"], found["detail"]) == ("check", "stands_in_the_text: it does not")
    assert found["checks"] == {"stands_in_the_text": False}
    assert (found["value"], found["decision"]) == (None, None)


def test_an_attempt_of_which_no_context_is_known(store: TraceStore) -> None:
    store.attempt(attempt(context=None, episode=""))
    (found,) = store.attempts()
    assert (found["context"], found["episode"]) == (None, None)


def test_what_an_older_version_stored_has_no_context_and_its_feedback_is_a_persons(shared_url: str) -> None:
    engine = create_engine(shared_url)
    with TraceStore.from_url(shared_url) as store:
        store.attempt(attempt())
        store.add_feedback(attempt().trace_id, label="right", source="gold")
    with engine.begin() as connection:
        for table, column in (
            ("attempts", "context"),
            ("attempts", "episode"),
            ("attempts", "value_hash"),
            ("feedback", "source"),
        ):
            connection.execute(text(f"ALTER TABLE stellwerk_{table} DROP COLUMN {column}"))
        connection.execute(text("UPDATE stellwerk_version SET version_num = '0005'"))
    engine.dispose()
    with TraceStore.from_url(shared_url) as store:
        (found,) = store.attempts()
        assert (found["context"], found["episode"], found["value"]) == (None, None, {"text": "five"})
        assert [said["source"] for said in store.feedback()] == ["person"]


def test_what_is_told_twice_is_stored_once_as_told_first(store: TraceStore) -> None:
    for answer in ("first", "second"):
        store.attempt(attempt(answer=answer))
        store.flush()
    store.attempt(attempt(answer="third"))
    store.attempt(attempt(answer="fourth"))
    assert [found["answer"] for found in store.attempts()] == ["first"]
    assert store.dropped == 0


def test_the_last_word_on_a_run_counts(store: TraceStore) -> None:
    store.run(run(outcome="running"))
    store.flush()
    store.run(run(outcome="interrupted"))
    store.run(run(outcome="failed", detail="1 of 2 subtasks done", updated_at=NOON + timedelta(seconds=9)))
    (found,) = store.runs()
    assert (found["outcome"], found["detail"]) == ("failed", "1 of 2 subtasks done")
    assert (found["task"], found["started_at"]) == ("Count them", NOON)
    assert found["updated_at"] == NOON + timedelta(seconds=9)


@pytest.mark.parametrize("apart", [True, False])
def test_an_earlier_word_that_comes_late_does_not_count(shared_url: str, apart: bool) -> None:
    later, earlier = NOON + timedelta(seconds=10), NOON + timedelta(seconds=1)
    with TraceStore.from_url(shared_url) as one, TraceStore.from_url(shared_url) as other:
        one.run(run(outcome="ok", detail="all done", updated_at=later))
        if apart:
            assert one.flush()
        teller = other if apart else one
        teller.run(run(outcome="interrupted", detail="a signal", updated_at=earlier))
        assert teller.flush()
        assert teller.dropped == 0
        (found,) = one.runs()
        assert (found["outcome"], found["detail"], found["updated_at"]) == ("ok", "all done", later)
        other.run(run(outcome="failed", detail="of that moment", updated_at=later))
        (found,) = other.runs()
        assert (found["outcome"], found["detail"]) == ("failed", "of that moment")


def test_a_run_of_another_thread_is_not_touched(store: TraceStore) -> None:
    store.run(run(thread_id="mine", outcome="ok"))
    store.run(run(thread_id="theirs", outcome="failed"))
    assert {found["thread_id"]: found["outcome"] for found in store.runs()} == {
        "mine": "ok",
        "theirs": "failed",
    }


def test_filters(store: TraceStore) -> None:
    rejected = Verdict(accepted=False, reason="schema")
    store.attempt(attempt(1))
    store.attempt(attempt(2, run_id="other"))
    store.attempt(attempt(3, thread_id="Thread"))
    store.attempt(attempt(4, worker="Extract"))
    store.attempt(attempt(5, tier="large"))
    store.attempt(attempt(6, verdict=rejected))

    def subtasks(**only: Any) -> str:
        return "".join(found["subtask"] for found in store.attempts(newest_first=False, **only))

    assert subtasks() == "123456"
    assert subtasks(run_id="other") == "2"
    assert subtasks(thread_id="Thread") == "3"
    assert subtasks(worker="Extract") == "4"
    assert subtasks(tier="large") == "5"
    assert subtasks(accepted=False) == "6"
    assert subtasks(reason="schema", accepted=False) == "6"
    assert subtasks(since=NOON + timedelta(seconds=2), until=NOON + timedelta(seconds=4)) == "23"
    assert subtasks(run_id="' OR 1=1 --") == ""
    assert subtasks(limit=2) == "12"
    assert subtasks(limit=0) == ""
    with pytest.raises(InputError, match="limit is -1"):
        store.attempts(limit=-1)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_neither_repeat_nor_leave_out(store: TraceStore, newest_first: bool) -> None:
    """Also where many attempts end at the same moment."""
    for number in range(450):
        store.attempt(attempt(number, created_at=NOON + timedelta(seconds=number // 100)))
    found = list(store.attempts(newest_first=newest_first))
    assert sorted(int(one["subtask"]) for one in found) == list(range(450))
    moments = [one["created_at"] for one in found]
    assert moments == sorted(moments, reverse=newest_first)
    assert len(list(store.attempts(limit=201))) == 201


def test_reading_holds_no_connection(shared_url: str) -> None:
    """More readers stand in the middle than there are connections, and a writer gets through."""
    with TraceStore.from_url(shared_url) as store:
        for number in range(210):
            store.attempt(attempt(number))
        readers = [store.attempts() for _ in range(8)]
        assert [next(reader)["subtask"] for reader in readers] == ["209"] * 8
        store.attempt(attempt(999))
        assert store.flush()
        assert [sum(1 for _ in reader) for reader in readers] == [209] * 8


async def test_from_async_code(url: str) -> None:
    async with TraceStore.from_url(url) as store:
        for number in range(201):
            store.attempt(attempt(number))
        assert [found["subtask"] async for found in store.aattempts(newest_first=False)] == [
            str(number) for number in range(201)
        ]
        assert [found["subtask"] async for found in store.abare_attempts(limit=1)] == ["200"]
        await store.aadd_feedback(attempt().trace_id, score=1)
        assert [said["score"] async for said in store.afeedback()] == [1.0]
        store.run(run())
        assert [told["run_id"] async for told in store.aruns(outcome="ok")] == ["run"]


# Feedback


def test_feedback_on_an_attempt_and_on_a_run(store: TraceStore) -> None:
    told = attempt()
    store.attempt(told)
    store.run(run())
    store.add_feedback(told.trace_id, score=0.5, label="wrong", comment="it is six", who="ada")
    store.add_feedback(told.trace_id, label="right", source="gold")
    store.add_feedback("run", score=1)
    on_attempt = list(store.feedback(trace_id=told.trace_id, newest_first=False))
    assert [said["label"] for said in on_attempt] == ["wrong", "right"]
    assert on_attempt[0]["comment"] == "it is six"
    assert on_attempt[0]["who"] == "ada"
    assert on_attempt[0]["run_id"] is None
    assert [said["source"] for said in on_attempt] == ["person", "gold"]
    on_run = [said for said in store.feedback(run_id="run") if said["trace_id"] is None]
    assert [said["score"] for said in on_run] == [1.0]
    assert len(list(store.feedback(run_id="run"))) == 3


def test_feedback_is_refused_where_nothing_has_the_id(store: TraceStore) -> None:
    for unknown in ("nothing", "ab" * 16, "", "a" * 1000):
        with pytest.raises(InputError, match="no attempt and no run has the id"):
            store.add_feedback(unknown, score=1)
    assert list(store.feedback()) == []


def test_feedback_has_to_say_something_that_can_be_stored(store: TraceStore) -> None:
    store.attempt(attempt())
    with pytest.raises(InputError, match="says nothing"):
        store.add_feedback(attempt().trace_id, who="ada")
    with pytest.raises(InputError, match="score is nan"):
        store.add_feedback(attempt().trace_id, score=float("nan"))
    with pytest.raises(InputError, match="source is 'hearsay'; give one of gold, person, judge"):
        store.add_feedback(attempt().trace_id, score=1, source=cast(Any, "hearsay"))


def test_feedback_on_a_run_whose_id_two_threads_share(store: TraceStore) -> None:
    store.run(run(thread_id="a"))
    store.run(run(thread_id="b"))
    with pytest.raises(InputError, match="2 threads have a run 'run'"):
        store.add_feedback("run", score=1)
    store.add_feedback("run", score=1, thread_id="b")
    assert [said["thread_id"] for said in store.feedback()] == ["b"]


# What is kept


def everything(url: str) -> str:
    """All that the tables hold, as text."""
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = [
            str([bytes(v) if isinstance(v, memoryview) else v for v in row])
            for table in ("attempts", "traced_runs", "feedback")
            for row in connection.execute(text(f"SELECT * FROM stellwerk_{table}"))
        ]
    engine.dispose()
    return "\n".join(rows)


@pytest.mark.parametrize("content", ["hash", "none"])
def test_nothing_of_the_content_is_stored_unless_wanted(shared_url: str, content: Any) -> None:
    quoted = Verdict(accepted=False, reason="not_json", detail="it begins 'five'")
    with TraceStore.from_url(shared_url, content=content, hash_key=b"k" * 16) as store:
        store.attempt(attempt(1))
        store.attempt(attempt(2, verdict=quoted))
        store.run(run(task="Count the secret", detail="secret"))
        first, second = store.attempts(newest_first=False)
    stored = everything(shared_url)
    for said in ("exact", "How many", "five", "secret", "Count"):
        assert said not in stored
    assert (first["input"], first["tools"][0]["name"], second["reason"]) == (100, "look", "not_json")
    assert first["content"] == content
    assert (first["prompt_hash"] == second["prompt_hash"] is not None) == (content == "hash")
    hashes = {"args_hash", "output_hash"} if content == "hash" else set()
    assert first["tools"][0].keys() == {"name", "failed", "seconds"} | hashes
    assert first["value"] is None
    assert (first["value_hash"] == second["value_hash"] is not None) == (content == "hash")
    assert first["context"] == {**CONTEXT, "instruction": ""}


def test_hashes_are_keyed(store: TraceStore, url: str) -> None:
    def hashed(key: bytes) -> str | None:
        with TraceStore.from_url(url, content="hash", hash_key=key) as other:
            other.attempt(attempt(run_id=key.decode()))
            return next(other.attempts(run_id=key.decode()))["answer_hash"]

    assert hashed(b"a" * 16) != hashed(b"b" * 16)
    with pytest.raises(ConfigurationError, match="hash_key of at least 16 bytes"):
        TraceStore.from_url(url, content="hash", hash_key=b"short")
    with pytest.raises(ConfigurationError, match="content is 'some'"):
        TraceStore.from_url(url, content=cast(Any, "some"))


def test_a_prompt_too_large_for_a_statement_does_not_lose_the_attempt(store: TraceStore) -> None:
    store.attempt(attempt(answer="x" * 5_000_000))
    (found,) = store.attempts()
    assert (found["content"], found["answer"], found["input"]) == ("none", None, 100)
    assert store.dropped == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.text(), value=st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=5))
def test_any_text_is_taken(store: TraceStore, said: str, value: Any) -> None:
    run_id = os.urandom(8).hex()
    told = attempt(run_id=run_id, subtask=said, thread_id=said, worker=said, answer=said, value=value)
    store.attempt(told)
    (found,) = store.attempts(run_id=run_id)
    assert (found["subtask"], found["thread_id"]) == (said, said)
    assert found["worker"] == said or len(said.encode()) > 255
    assert found["answer"] == said.replace("\0", "\u2400")
    assert found["value"] == value
    assert store.dropped == 0


@pytest.mark.parametrize("field", ["value", "tools"])
def test_a_value_or_a_tool_too_large_for_a_statement_does_not_lose_the_attempt(
    store: TraceStore, field: str
) -> None:
    large = "x" * 17_000_000
    told = attempt(value=large) if field == "value" else attempt()
    if field == "tools":
        told.calls[0]["tools"][0]["output"] = large
    store.attempt(told)
    (found,) = store.attempts()
    assert (found["content"], found["value"], found["input"]) == ("none", None, 100)
    assert (found["tools"][0]["name"], "output" in found["tools"][0]) == ("look", False)
    assert store.dropped == 0


def test_a_trace_that_the_database_refuses_takes_no_other_along(shared_url: str) -> None:
    wrong = attempt(2)
    wrong.calls[0]["usage"]["input"] = 2**63
    with TraceStore.from_url(shared_url) as store:
        for told in (attempt(1), wrong, attempt(3)):
            store.attempt(told)
        store.run(run())
        assert [found["subtask"] for found in store.attempts()] == ["3", "1"]
        assert [found["outcome"] for found in store.runs()] == ["ok"]
        assert store.dropped == 1


def test_threads_write_side_by_side(store: TraceStore) -> None:
    def work(thread: int) -> None:
        for number in range(100):
            store.attempt(attempt(number, run_id=str(thread)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in store.attempts()) == 800


async def test_the_event_loop_is_not_blocked(url: str) -> None:
    """A tick gets through between any two attempts, although the database is being written to."""
    store = TraceStore.from_url(url)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    for number in range(500):
        store.attempt(attempt(number))
        await asyncio.sleep(0)
    ticking.cancel()
    assert ticks >= 500
    assert await store.aclose()
    assert store.dropped == 0
