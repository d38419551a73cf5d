"""Sums over traces are the same on every database."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from stellwerk.outcome import Verdict
from stellwerk.persistence import report_units as units
from stellwerk.persistence.owned import note_thread, threads_noted
from stellwerk.persistence.report_units import Latency, Selection, Work, threads_of
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from tests.persistence.leases import expire
from tests.persistence.traces import NOON, attempt, run

ALL = Selection()


@pytest.fixture
def store(url: str) -> Iterator[TraceStore]:
    with TraceStore.from_url(url) as store:
        yield store


def test_attempts_are_summed_by_worker_tier_and_reason(store: TraceStore) -> None:
    for number in range(4):
        store.attempt(attempt(number))
    rejected = Verdict(accepted=False, reason="check", detail="no")
    store.attempt(attempt(8, verdict=rejected, usd=None))
    store.attempt(attempt(9, verdict=rejected, tier="large", usd=0.5))
    store.attempt(attempt(10, worker="write", verdict=Verdict(accepted=False, reason="schema")))
    store.flush()
    work = sorted(store.database.read(lambda c: units.work(c, ALL)), key=lambda one: (one.worker, one.tier))
    assert work[0] == Work("extract", "large", 1, 0, 100, 40, 7, 0.5, 0, 1.5)
    assert (work[1].attempts, work[1].accepted, work[1].unpriced) == (5, 4, 1)
    assert work[1].usd == pytest.approx(0.008)
    assert store.database.read(lambda c: units.rejections(c, ALL)) == {
        "extract": {"check": 2},
        "write": {"schema": 1},
    }


def test_percentiles_are_of_whole_subtasks_and_are_values_that_there_were(store: TraceStore) -> None:
    def took(place: int, taken: float, **changed: object) -> None:
        calls = [{**attempt(place).calls[0], "seconds": taken}]
        store.attempt(attempt(place, **{"calls": calls, **changed}))

    for number in range(1, 21):
        took(number, float(number))
    took(50, 100.0, worker="write")
    # Two attempts at one subtask are one time.
    episode = attempt(60).episode
    took(60, 1.0, worker="slow", episode=episode)
    took(61, 2.0, worker="slow", episode=episode)
    store.flush()
    assert store.database.read(lambda c: units.worker_latency(c, ALL)) == {
        "extract": Latency(20, 10.0, 19.0),
        "write": Latency(1, 100.0, 100.0),
        "slow": Latency(1, 3.0, 3.0),
    }


def test_a_time_and_whose_threads_they_are_limit_all_of_it(store: TraceStore) -> None:
    for number, thread in enumerate(("ada:1", "ada:2", "bob:1")):
        store.attempt(attempt(number, thread_id=thread, run_id=f"r{number}"))
        store.run(run(f"r{number}", thread_id=thread, started_at=NOON + timedelta(hours=number)))
    store.flush()
    read = store.database.read
    ada = Selection(visible=threads_of("ada:"))
    late = Selection(since=NOON + timedelta(hours=1), visible=threads_of("ada:"))
    assert read(lambda c: units.outcomes(c, ALL)) == {"ok": 3}
    assert read(lambda c: units.outcomes(c, ada)) == {"ok": 2}
    assert read(lambda c: units.outcomes(c, late)) == {"ok": 1}
    assert read(lambda c: units.work(c, ada))[0].attempts == 2
    assert read(lambda c: units.run_latency(c, ada)) is None
    assert [bytes(row.run_id) for row in read(lambda c: units.latest(c, ada, 5, tasks=False))] == [
        b"r1",
        b"r0",
    ]
    assert read(lambda c: units.found(c, ada, "r2", None, tasks=False)) == []
    assert len(read(lambda c: units.found(c, ada, "r", None, tasks=False))) == 2
    assert read(lambda c: units.newest_of(c, ada, "bob:1", tasks=False)) is None
    assert read(lambda c: units.pulse(c, ada)) != read(lambda c: units.pulse(c, ALL))


def test_a_run_whose_process_died_is_told_from_one_that_runs(store: TraceStore) -> None:
    runs = RunStore(store.database)
    alive, dead = runs.claim("alive", task="it"), runs.claim("dead", task="it")
    expire(store.database, "dead")
    asked = [alive.run_id, dead.run_id, "of a program without leases"]
    assert store.database.read(lambda c: units.dead(c, asked)) == {dead.run_id}
    assert store.database.read(lambda c: units.dead(c, [])) == set()


def test_the_pulse_of_a_run_changes_with_all_that_its_page_shows(store: TraceStore) -> None:
    lease = RunStore(store.database).claim("thread", task="it")
    seen: list[str | None] = []

    def look(chosen: Selection = ALL, name: str | None = None, thread: str | None = "thread") -> str | None:
        store.flush()
        return store.database.read(lambda c: units.run_pulse(c, chosen, name, thread))

    store.run(run(lease.run_id, outcome="running"))
    seen.append(look())
    assert {look(name=lease.run_id), look(name=lease.run_id[:8], thread=None), look()} == {seen[0]}
    store.attempt(attempt(1, thread_id="another", run_id=lease.run_id))
    store.run(run("other", thread_id="another"))
    assert look() == seen[0]
    store.attempt(attempt(1, run_id=lease.run_id))
    seen.append(look())
    SQLAlchemySaver(store.database).put(
        {"configurable": {"thread_id": "thread", "checkpoint_ns": ""}}, empty_checkpoint(), {}, {}
    )
    seen.append(look())
    expire(store.database, "thread")
    seen.append(look())
    store.run(run(lease.run_id, updated_at=NOON + timedelta(seconds=1)))
    seen.append(look())
    assert len(set(seen)) == len(seen) == 5
    ada = Selection(visible=threads_of("ada:"))
    assert {look(ada), look(ada, lease.run_id), look(name="nobody"), look(name=None, thread=None)} == {None}


def test_threads_are_seen_by_those_for_whom_they_were_noted(store: TraceStore) -> None:
    for name, owner in (("one", "key:ada"), ("two", "key:ada"), ("three", "jwt:ada")):
        store.run(run(name, thread_id=name))
        note_thread(store.database, owner, name)
        note_thread(store.database, owner, name)  # with each run of it
    store.flush()

    def seen(owner: str) -> set[bytes]:
        chosen = Selection(visible=threads_noted(owner))
        rows = store.database.read(lambda c: units.latest(c, chosen, 9, tasks=False))
        return {bytes(row.run_id) for row in rows}

    assert seen("key:ada") == {b"one", b"two"}
    assert (seen("jwt:ada"), seen("key:bob")) == ({b"three"}, set())
