"""The journal of side effects: who may make a write, and what is known of it."""

import asyncio
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from stellwerk.effects import Claim, EffectJournal, InMemoryEffectJournal, Intent, effect_key
from stellwerk.errors import InputError, UntrustedDataError
from stellwerk.persistence.effects import SQLAlchemyEffectJournal
from stellwerk.persistence.retention import find_prunable, prune_effects, stats
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.schema.effects import effects
from stellwerk.persistence.serde import StrictEncryptedSerializer
from tests.persistence.conftest import BACKENDS, Pool
from tests.persistence.processes import process

DONE = {"output": "paid \N{GRINNING FACE}\0", "failed": False}


def intent(name: str = "a", **fields: Any) -> Intent:
    given = {
        "key": effect_key(name),
        "thread_id": "t\0",
        "subtask": "s",
        "tool": "pay",
        "args": {"euros": 3.5},
    }
    return Intent(**(given | fields))


@pytest.fixture(params=("process", *BACKENDS))
def journal(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> Iterator[EffectJournal]:
    if request.param == "process":
        yield InMemoryEffectJournal()
        return
    with pool.lent(request.param, tmp_path) as url, SQLAlchemyEffectJournal.from_url(url) as stored:
        yield stored


def begun(journal: EffectJournal, again: str | None = None, *, sync: bool = True) -> Claim:
    if sync:
        return journal.begin(intent(), again=again)
    return asyncio.run(journal.abegin(intent(), again=again))


def test_a_write_is_made_once_and_what_it_gave_is_given_to_the_next(
    journal: EffectJournal, sync: bool
) -> None:
    ours = begun(journal, sync=sync)
    assert ours.state == "ours"
    assert begun(journal, sync=sync).state == "busy"
    if sync:
        assert journal.end(effect_key("a"), ours.id, DONE)
    else:
        assert asyncio.run(journal.aend(effect_key("a"), ours.id, DONE))
    again = begun(journal, sync=sync)
    assert (again.state, again.outcome, again.id) == ("done", DONE, ours.id)
    assert journal.begin(intent("b")).state == "ours"


def test_what_was_not_done_may_be_tried_again(journal: EffectJournal, sync: bool) -> None:
    first = begun(journal)
    if sync:
        journal.undo(effect_key("a"), first.id)
    else:
        asyncio.run(journal.aundo(effect_key("a"), first.id))
    second = begun(journal)
    assert second.state == "ours"
    # Who was first has no say any more.
    assert not journal.end(effect_key("a"), first.id, DONE)
    journal.undo(effect_key("a"), first.id)
    journal.doubt(effect_key("a"), first.id)
    assert begun(journal).state == "busy"


def test_what_is_not_known_is_made_again_only_on_purpose_and_once(journal: EffectJournal, sync: bool) -> None:
    first = begun(journal)
    if sync:
        journal.doubt(effect_key("a"), first.id)
    else:
        asyncio.run(journal.adoubt(effect_key("a"), first.id))
    unknown = begun(journal)
    assert (unknown.state, unknown.id) == ("unknown", first.id)
    assert begun(journal, again="0" * 32).state == "unknown"
    second = begun(journal, again=first.id)
    assert second.state == "ours"
    assert begun(journal, again=first.id).state == "busy"
    assert not journal.end(effect_key("a"), first.id, DONE)
    assert journal.end(effect_key("a"), second.id, DONE)


def test_what_comes_late_settles_it(journal: EffectJournal) -> None:
    first = begun(journal)
    journal.doubt(effect_key("a"), first.id)
    assert journal.end(effect_key("a"), first.id, DONE)
    assert begun(journal).outcome == DONE
    journal.undo(effect_key("a"), first.id)
    journal.doubt(effect_key("a"), first.id)
    assert begun(journal).state == "done"


def test_of_many_who_try_at_once_one_gets_it(journal: EffectJournal) -> None:
    together, states = threading.Barrier(8), list[str]()

    def claim() -> None:
        together.wait()
        states.append(journal.begin(intent()).state)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(states) == ["busy"] * 7 + ["ours"]


def dies_with_a_claim(url: str, ttl: float) -> None:
    journal = SQLAlchemyEffectJournal.from_url(url, ttl=ttl)
    print(journal.begin(intent()).state, flush=True)
    os._exit(9)


def test_the_claim_of_a_process_that_died_is_not_known_and_never_free(shared_url: str) -> None:
    with SQLAlchemyEffectJournal.from_url(shared_url, ttl=30) as journal:
        with process(dies_with_a_claim, shared_url, 1.0) as other:
            assert other.says() == "ours"
            other.ends()
        states = [journal.begin(intent()).state]
        while states[-1] == "busy":
            threading.Event().wait(0.1)
            states.append(journal.begin(intent()).state)
        assert states[-1] == "unknown"


def test_a_claim_is_good_for_as_long_as_its_process_lives(shared_url: str) -> None:
    with SQLAlchemyEffectJournal.from_url(shared_url, ttl=0.6) as journal:
        ours = journal.begin(intent())
        ended = threading.Event()
        for _ in range(5):
            ended.wait(0.25)
            assert journal.begin(intent()).state == "busy"
        assert journal.end(effect_key("a"), ours.id, DONE)


def test_a_database_that_was_closed_is_not_asked_to_renew_claims(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        journal = SQLAlchemyEffectJournal(saver.database, ttl=0.3)
        journal.begin(intent())
        (beat,) = (each for each in threading.enumerate() if each.name == "stellwerk-effects-beat")
    beat.join(30)
    assert not beat.is_alive()
    assert not caplog.records


def test_arguments_and_outcome_are_encrypted_with_the_key_of_the_checkpoints(shared_url: str) -> None:
    pytest.importorskip("cryptography")
    serde = StrictEncryptedSerializer.with_key(b"k" * 32)
    with SQLAlchemyEffectJournal.from_url(shared_url, serde=serde) as journal:
        ours = journal.begin(intent(args={"iban": "DE-SECRET"}))
        journal.end(effect_key("a"), ours.id, {"output": "DE-SECRET"})
        assert journal.begin(intent()).outcome == {"output": "DE-SECRET"}
        row = journal.database.read(lambda connection: connection.execute(select(effects)).one())
        assert b"SECRET" not in bytes(row.args) + bytes(row.outcome)
        assert (row.tool, row.subtask, row.state) == ("pay", "s", "done")
    with SQLAlchemyEffectJournal.from_url(shared_url) as without, pytest.raises(UntrustedDataError):
        without.begin(intent())


def test_old_writes_are_pruned_but_for_those_of_threads_that_go_on(url: str) -> None:
    with SQLAlchemySaver.from_url(url) as saver:
        journal = SQLAlchemyEffectJournal(saver.database)
        for thread_id in ("gone", "here"):
            ours = journal.begin(intent(thread_id, thread_id=thread_id))
            journal.end(effect_key(thread_id), ours.id, DONE)
        journal.begin(intent("running", thread_id="gone"))
        saver.put(
            {"configurable": {"thread_id": "here", "checkpoint_ns": ""}},
            {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}},  # type: ignore[typeddict-item]
            {"source": "input", "step": -1, "parents": {}},
            {},
        )
        now = timedelta(seconds=-0.0)
        assert find_prunable(saver, older_than=timedelta(days=1), keep_latest=False).effects == 0
        assert find_prunable(saver, older_than=now, keep_latest=True).effects == 1
        assert sum(prune_effects(saver, older_than=now, keep_latest=True)) == 1
        assert sum(prune_effects(saver, older_than=now, keep_latest=False)) == 1
        (table,) = [each for each in stats(saver)["tables"] if each["table"] == "stellwerk_effects"]
        assert table["rows"] == 1  # somebody is making it


def test_a_claim_has_to_be_good_for_some_time() -> None:
    with pytest.raises(InputError, match=r"ttl is 0; give the seconds .*, above 0"):
        SQLAlchemyEffectJournal.from_url("sqlite://", ttl=0)


def test_a_journal_in_memory_forgets_what_ended_first() -> None:
    journal = InMemoryEffectJournal(most=2)
    journal.begin(intent("running"))
    for name in ("a", "b", "c"):
        journal.end(effect_key(name), journal.begin(intent(name)).id, DONE)
    states = {name: journal.begin(intent(name)).state for name in ("running", "c", "a")}
    assert states == {"running": "busy", "c": "done", "a": "ours"}
