"""What has no consent is never written, whom a trace is from is a keyed hash, and what is late is deleted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import inspect, text

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.dataset_units import DatasetExample
from stellwerk.persistence.trace_import import add_traces
from stellwerk.persistence.traces import TraceStore
from stellwerk.trace import FeedbackTrace, Origin
from tests.persistence.traces import NOON, attempt, run

KEY = b"a key of at least sixteen bytes"
NOW = datetime.now(UTC)
Opened = Callable[..., TraceStore]


@pytest.fixture
def opened(url: str) -> Iterator[Opened]:
    """Open the database; one in memory is one and the same store."""
    stores: list[TraceStore] = []

    def opened(**options: Any) -> TraceStore:
        if url == "sqlite://" and stores:
            pytest.skip("a database in memory belongs to one store")
        stores.append(TraceStore.from_url(url, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def threads(store: TraceStore) -> list[str]:
    return sorted(found["thread_id"] for found in store.attempts())


def everything(store: TraceStore) -> str:
    """All that the database holds, as text; bytes as they are and as hexadecimal digits."""
    found = []
    with store.database._engine.connect() as connection:
        for name in inspect(connection).get_table_names():
            for row in connection.execute(text(f"SELECT * FROM {name}")):
                for value in row:
                    if isinstance(value, bytes | memoryview):
                        found += [bytes(value).decode("latin-1"), bytes(value).hex()]
                    else:
                        found.append(str(value))
    return "\n".join(found)


@pytest.mark.parametrize("unknown", ["granted", "denied"])
def test_a_thread_without_consent_leaves_nothing(opened: Opened, unknown: Any) -> None:
    store = opened(unknown_consent=unknown)
    store.consents.set("yes", "granted")
    store.consents.set("no", "denied", who="ada")
    store.consents.set("asked", "unknown")
    for number, thread in enumerate(("yes", "no", "asked", "new", "")):
        store.attempt(attempt(number, thread_id=thread))
        store.run(run(f"run-{number}", thread_id=thread))
    allowed = ["yes"] if unknown == "denied" else ["", "asked", "new", "yes"]
    assert threads(store) == allowed
    assert sorted(found["thread_id"] for found in store.runs()) == allowed
    assert (store.denied, store.dropped) == (5 - len(allowed), 0)
    found = store.consents.get("no")
    assert found is not None
    assert (found.state, found.who, found.keep_days) == ("denied", "ada", None)
    assert store.consents.get("new") is None
    assert store.consents.count() == {"granted": 1, "denied": 1, "unknown": 1}


def test_what_a_program_says_of_a_run_counts_but_not_against_a_denial(opened: Opened) -> None:
    store = opened(unknown_consent="denied", origin_keys=[KEY])
    store.consents.set("no", "denied")
    for number, (thread, consent) in enumerate((("a", True), ("b", None), ("c", False), ("no", True))):
        store.attempt(attempt(number, thread_id=thread, origin=Origin(consent=consent)))
    assert threads(store) == ["a"]


def test_a_person_and_a_private_thread_are_nowhere_in_the_database(opened: Opened) -> None:
    store = opened(origin_keys=[KEY])
    ada = Origin(user="ada lovelace", private=True)
    for number in range(2):
        store.attempt(attempt(number, thread_id="secret thread", origin=ada))
    store.run(run(thread_id="secret thread", origin=ada))
    store.attempt(attempt(2, thread_id="secret thread", origin=Origin(user="bob", private=True)))
    store.consents.set("secret thread", "granted")
    found = list(store.attempts(thread_id="secret thread"))
    assert len(found) == 3
    assert len({one["origin"] for one in found}) == 2
    assert len({one["thread_id"] for one in found}) == 1
    assert len(list(store.runs(thread_id="secret thread"))) == 1
    store.add_feedback("run", score=1.0, thread_id="secret thread")
    everywhere = everything(store)
    for name in ("ada lovelace", "secret thread", "bob", KEY.decode()):
        assert name not in everywhere
        assert name.encode().hex() not in everywhere


def test_without_a_key_no_person_is_stored_and_a_thread_as_it_is(opened: Opened) -> None:
    store = opened()
    store.attempt(attempt(1, origin=Origin(user="ada", private=True)))
    store.attempt(attempt(2, origin=Origin(user="bob", private=True)))
    assert threads(store) == ["thread", "thread"]
    assert len({found["origin"] for found in store.attempts()}) == 1
    with store.database._engine.connect() as connection:
        assert connection.execute(text("SELECT person FROM stellwerk_origins")).scalars().all() == [None]


def test_a_denial_holds_when_the_key_is_changed_or_comes_later(opened: Opened) -> None:
    store, new = opened(), b"another key of many bytes"
    store.consents.set("first", "denied")
    keyed = opened(origin_keys=[KEY])
    keyed.consents.set("second", "denied")
    rotated = opened(origin_keys=[new, KEY])
    for number, thread in enumerate(("first", "second", "third")):
        rotated.attempt(attempt(number, thread_id=thread, origin=Origin(private=True)))
    assert [len(list(rotated.attempts(thread_id=name))) for name in ("first", "second", "third")] == [0, 0, 1]


def test_what_is_past_its_date_is_deleted(opened: Opened) -> None:
    store = opened(origin_keys=[KEY])
    ages = {"short": 5, "long": 40, "none": 40, "young": 1, "denied": 1}
    for number, (thread, days) in enumerate(ages.items()):
        moment = NOW - timedelta(days=days)
        store.attempt(attempt(number, thread_id=thread, created_at=moment, origin=Origin(private=True)))
        store.run(run(f"{thread}-run", thread_id=thread, started_at=moment, updated_at=moment))
    store.flush()
    store.consents.set("short", "granted", keep_days=3)
    store.consents.set("long", "granted", keep_days=90)
    store.consents.set("denied", "denied")
    conversions = ConversionStore(store.database)
    conversions.add_dataset("d", {})
    conversions.add_examples(
        "d",
        [
            DatasetExample(
                trace_id=found["trace_id"],
                call_site="agent",
                split="train",
                content={},
                origin=found["origin"] or "",
                created_at=found["created_at"],
            )
            for found in store.attempts()
        ],
    )
    assert (store.consents.overdue(), store.consents.overdue(30)) == (6, 9)
    assert sum(store.consents.retain()) == 6
    left = {thread: list(store.attempts(thread_id=thread)) for thread in ages}
    assert [thread for thread, found in left.items() if found] == ["long", "none", "young"]
    assert sum(store.consents.retain(30)) == 3
    left = {thread: list(store.attempts(thread_id=thread)) for thread in ages}
    assert [thread for thread, found in left.items() if found] == ["long", "young"]
    kept = {found["trace_id"] for found in store.attempts()}
    assert {one.trace_id for one in conversions.examples("d")} == kept
    assert sorted(one["run_id"] for one in store.runs()) == ["long-run", "young-run"]
    assert sum(store.consents.retain(30)) == 0


def test_what_an_older_version_stored_is_found_by_its_thread(opened: Opened) -> None:
    store = opened()
    store.attempt(attempt(1, created_at=NOW - timedelta(days=5)))
    store.flush()
    store.database.write(lambda c: c.execute(text("UPDATE stellwerk_attempts SET origin = NULL")))
    store.consents.set("thread", "granted", keep_days=1)
    assert sum(store.consents.retain()) == 1
    assert threads(store) == []


def test_traces_from_elsewhere_are_written_once_and_only_with_consent(opened: Opened) -> None:
    store = opened()
    store.consents.set("no", "denied")
    told = [attempt(number, thread_id="no" if number == 3 else "t") for number in range(5)]
    said = [
        FeedbackTrace(
            feedback_id=f"{number:032x}",
            trace_id=told[number].trace_id,
            run_id="run",
            thread_id=told[number].thread_id,
            score=0.5,
            source="gold",
            created_at=NOON,
        )
        for number in (2, 3)
    ]
    first = add_traces(store, told, [run(thread_id="t")], said)
    assert (first.new, first.known, first.denied, first.refused) == (4, 0, 1, 0)
    again = add_traces(store, [*told, told[0]], [run(thread_id="t")], said)
    assert (again.new, again.known, again.denied) == (0, 5, 1)
    assert [found["trace_id"] for found in store.feedback()] == [told[2].trace_id]
    assert len(list(store.runs())) == 1
    broken = attempt(9, trace_id="no id")
    huge = replace(attempt(10), number=2**70)
    mixed = add_traces(store, [broken, huge, attempt(11)])
    assert (mixed.new, mixed.refused) == (1, 2)


def test_definitions_of_tools_are_stored_once(opened: Opened) -> None:
    store = opened()
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    for number in range(3):
        store.attempt(attempt(number, offered=tools))
    names = {found["offered"] for found in store.attempts()}
    assert len(names) == 1
    assert store.offered(names.pop() or "") == tools
    assert store.offered("ab") == store.offered("zz") == []
    with store.database._engine.connect() as connection:
        assert len(connection.execute(text("SELECT tools FROM stellwerk_tool_sets")).all()) == 1


async def test_consents_have_async_methods(opened: Opened) -> None:
    store = opened()
    await store.consents.aset("a", "granted", keep_days=0)
    found = await store.consents.aget("a")
    assert found is not None
    assert (found.state, found.keep_days) == ("granted", 0)
    assert await store.consents.acount() == {"granted": 1}
    assert await store.consents.aoverdue(1) == await store.consents.aretain(1) == 0


def test_what_is_no_consent_or_no_key_is_refused(opened: Opened) -> None:
    store = opened()
    with pytest.raises(InputError, match="the consent is 'maybe'"):
        store.consents.set("a", "maybe")  # type: ignore[arg-type]  # what a caller may get wrong
    with pytest.raises(InputError, match="keep_days is -1"):
        store.consents.set("a", "granted", keep_days=-1)
    with pytest.raises(InputError, match="the thread's id is empty"):
        store.consents.set("", "granted")
    with pytest.raises(InputError, match="keep_days is -1"):
        list(store.consents.retain(-1))
    with pytest.raises(ConfigurationError, match="fewer than 16 bytes"):
        TraceStore.from_url("sqlite://", origin_keys=[b"short"])
    with pytest.raises(ConfigurationError, match="unknown_consent is 'perhaps'"):
        TraceStore.from_url("sqlite://", unknown_consent="perhaps")  # type: ignore[arg-type]  # as above
