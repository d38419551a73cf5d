"""Runs and leases, as one process sees them."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from stellwerk.errors import InputError, LeaseError, RunCancelledError
from stellwerk.persistence import run_units
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.run_units import Claim, Run, Status
from stellwerk.persistence.runs import AsyncRunStore, RunStore, holder
from tests.persistence.leases import expire, take_over, tick


@pytest.fixture
def store(url: str) -> Iterator[RunStore]:
    with RunStore.from_url(url) as store:
        yield store


def found(store: RunStore, run_id: str) -> Run:
    run = store.get(run_id)
    assert run is not None
    return run


def outcome(store: RunStore, thread_id: str) -> tuple[str, str | None]:
    run = store.list(thread_id=thread_id, limit=1)[0]
    return run.status, run.error


class TestClaim:
    def test_a_held_thread_is_refused_with_who_since_when_and_until_when(self, store: RunStore) -> None:
        lease = store.claim("t", task="one")
        with pytest.raises(LeaseError) as caught:
            store.claim("t", task="two")
        for said in (holder(), lease.run_id, f"since {lease.started_at:%Y-%m-%d %H:%M:%S} UTC"):
            assert said in str(caught.value)
        assert f"until {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC" in str(caught.value)
        assert [run.task for run in store.list()] == ["one"]

    def test_a_lease_lasts_as_long_as_was_asked(self, store: RunStore) -> None:
        lease = store.claim("t", task="x", ttl=600)
        assert 595 < (lease.expires_at - lease.started_at).total_seconds() <= 600

    def test_other_threads_are_free(self, store: RunStore) -> None:
        for thread in ("a", "A", "a ", "é", "e", "\0", "x" * 2_000):
            assert store.claim(thread, task="x").token == 1
        assert {run.thread_id for run in store.list()} == {"a", "A", "a ", "é", "e", "\0", "x" * 2_000}

    def test_a_released_thread_is_free_and_its_token_grows(self, store: RunStore) -> None:
        tokens = []
        for _ in range(3):
            lease = store.claim("t", task="x")
            tokens.append(lease.token)
            store.release(lease)
        assert tokens == [1, 2, 3]

    def test_after_its_end_the_next_takes_over_and_the_first_is_refused(self, store: RunStore) -> None:
        first = store.claim("t", task="x")
        expire(store.database, "t")
        second = store.claim("t", task="y")
        assert second.token == first.token + 1
        with pytest.raises(LeaseError, match=f"was taken over by .*{second.run_id}"):
            store.renew(first)
        with pytest.raises(LeaseError, match="was taken over by"):
            store.release(first)
        assert (found(store, first.run_id).status, found(store, second.run_id).status) == (
            "interrupted",
            "running",
        )

    def test_an_expired_lease_is_not_renewed_but_can_be_released(self, store: RunStore) -> None:
        lease = store.claim("t", task="x")
        expire(store.database, "t")
        with pytest.raises(LeaseError, match=r"ended at .* without being renewed"):
            store.renew(lease)
        assert found(store, lease.run_id).status == "interrupted"
        store.release(lease, status="done")
        assert found(store, lease.run_id).status == "done"

    def test_a_lease_of_another_database_is_no_lease(self, store: RunStore) -> None:
        with RunStore.from_url("sqlite://") as other:
            lease = other.claim("t", task="x")
        with pytest.raises(LeaseError, match="has no lease in this database"):
            store.renew(lease)

    def test_a_try_that_is_repeated_gets_the_same_lease(self, store: RunStore) -> None:
        wanted = Claim("t", "0b4e0c39", "x", "host:1", "0.1", 60.0)
        first = store.database.write(lambda c: run_units.claim(c, wanted))
        second = store.database.write(lambda c: run_units.claim(c, wanted))
        assert (first.token, second.token, len(store.list())) == (1, 1, 1)
        for _ in range(2):
            store.release(second, status="done", totals={"usd": 0.5})
        assert found(store, "0b4e0c39").totals == {"usd": 0.5}

    def test_a_task_that_is_no_text(self) -> None:
        task: Any = None
        with RunStore.from_url("sqlite://") as store, pytest.raises(InputError, match="task is None"):
            store.claim("t", task=task)

    @pytest.mark.parametrize("ttl", [0, -1, 1e13, float("nan"), float("inf")])
    def test_a_wrong_ttl(self, ttl: float) -> None:
        with RunStore.from_url("sqlite://") as store, pytest.raises(InputError, match="ttl is"):
            store.claim("t", task="x", ttl=ttl)

    def test_of_twenty_that_claim_at_once_one_wins(self, shared_url: str) -> None:
        together = threading.Barrier(20)

        def claim(store: RunStore) -> int | str:
            together.wait()
            try:
                return store.claim("t", task="x").token
            except LeaseError as error:
                return str(error)

        with RunStore.from_url(shared_url) as store, ThreadPoolExecutor(20) as pool:
            store.setup()
            for turn in range(1, 4):
                results = list(pool.map(claim, [store] * 20))
                assert [result for result in results if isinstance(result, int)] == [turn]
                assert len(store.list(status="running")) == 1
                expire(store.database, "t")


class TestList:
    def test_newest_first_by_status_thread_and_number(self, store: RunStore) -> None:
        endings: list[Status] = ["done", "failed", "cancelled", "interrupted"]
        for status in endings:
            store.release(store.claim(f"t-{status}", task="x"), status=status, error="why")
            tick(store.database)
        store.claim("t-running", task="x")
        tick(store.database)
        store.claim("t-lost", task="x")
        expire(store.database, "t-lost")
        everything = [run.thread_id for run in store.list()]
        assert everything == [
            "t-lost",
            "t-running",
            "t-interrupted",
            "t-cancelled",
            "t-failed",
            "t-done",
        ]
        assert [run.thread_id for run in store.list(status="running")] == ["t-running"]
        assert [run.thread_id for run in store.list(status="interrupted")] == ["t-lost", "t-interrupted"]
        assert [run.thread_id for run in store.list(status=["done", "failed"])] == ["t-failed", "t-done"]
        assert [run.thread_id for run in store.list(limit=2)] == everything[:2]
        assert [run.error for run in store.list(thread_id="t-failed")] == ["why"]
        assert store.list(thread_id="nobody") == store.list(status=[]) == store.list(limit=0) == []

    def test_a_run_whose_process_died_counts_as_interrupted(self, store: RunStore) -> None:
        lease = store.claim("t", task="x")
        expire(store.database, "t")
        assert outcome(store, "t") == ("interrupted", "its process ended, or stood still, without a word")
        assert found(store, lease.run_id).expires_at is None

    @pytest.mark.parametrize(
        ("arguments", "message"), [({"status": "over"}, "no status 'over'"), ({"limit": -1}, "limit is -1")]
    )
    def test_wrong_arguments(self, arguments: dict[str, object], message: str) -> None:
        with RunStore.from_url("sqlite://") as store, pytest.raises(InputError, match=message):
            store.list(**arguments)  # type: ignore[arg-type]

    def test_a_run_is_found_by_its_id_its_thread_and_the_beginning_of_its_id(self, store: RunStore) -> None:
        earlier = store.claim("t", task="x")
        store.release(earlier)
        tick(store.database)
        later = store.claim("t", task="y")
        for name, run_id in (
            (earlier.run_id, earlier.run_id),
            ("t", later.run_id),
            (earlier.run_id[:13], earlier.run_id),
        ):
            run = store.find(name)
            assert run is not None
            assert run.run_id == run_id
        for name in ("T", "zzzz", "%", "", earlier.run_id + "x", "\ud800"):
            assert store.find(name) is None

    def test_long_texts_are_cut_and_odd_ones_are_kept(self, store: RunStore) -> None:
        lease = store.claim("t", task="ü\0😀" * 1_000)
        store.release(lease, status="failed", error="e" * 9_000, totals={"größe": 1})
        run = found(store, lease.run_id)
        assert (len(run.task), len(run.error or ""), run.totals) == (500, 2_000, {"größe": 1})


class TestCancel:
    def test_the_holder_is_told_with_the_next_renewal(self, store: RunStore) -> None:
        lease = store.claim("t", task="x")
        assert not store.renew(lease).cancel_requested
        asked = store.request_cancel(lease.run_id)
        assert asked is not None
        assert asked.status == "running"
        assert store.renew(lease).cancel_requested

    def test_a_run_that_is_over_is_not_asked(self, store: RunStore) -> None:
        lease = store.claim("t", task="x")
        expire(store.database, "t")
        asked = store.request_cancel(lease.run_id)
        assert asked is not None
        assert asked.status == "interrupted"
        assert not found(store, lease.run_id).cancel_requested
        assert store.request_cancel("nobody") is None


class TestRunning:
    def test_the_row_says_how_the_block_ended(self, store: RunStore) -> None:
        with store.running("done", task="x") as hold:
            hold.totals = {"calls": 3}
        assert store.list(thread_id="done")[0].totals == {"calls": 3}
        with store.running("partial", task="x") as hold:
            hold.status, hold.error = "failed", "a part is missing"
        errors: list[tuple[str, BaseException]] = [
            ("failed", ValueError("no")),
            ("stopped", KeyboardInterrupt()),
            ("exit", SystemExit(1)),
        ]
        for thread, error in errors:
            with pytest.raises(type(error)), store.running(thread, task="x"):
                raise error
        assert {run.thread_id: (run.status, run.error) for run in store.list()} == {
            "done": ("done", None),
            "partial": ("failed", "a part is missing"),
            "failed": ("failed", "ValueError: no"),
            "stopped": ("interrupted", "KeyboardInterrupt"),
            "exit": ("interrupted", "SystemExit: 1"),
        }
        assert store.claim("failed", task="again").token == 2

    def test_a_held_thread_is_not_entered(self, store: RunStore) -> None:
        with store.running("t", task="x"):
            with pytest.raises(LeaseError, match="is held by"), store.running("t", task="y"):
                pytest.fail("two run the thread")
            assert len(store.list()) == 1

    def test_the_heartbeat_keeps_the_lease_for_longer_than_its_ttl(self, shared_url: str) -> None:
        with (
            RunStore.from_url(shared_url) as store,
            store.running("t", task="x", ttl=1.5, interval=0.2) as hold,
        ):
            while (hold.lease.expires_at - hold.lease.started_at).total_seconds() < 4.5:
                assert not hold.stop.wait(0.1), hold.reason
            with pytest.raises(LeaseError, match="is held by"):
                store.claim("t", task="y")
        assert outcome_of(shared_url) == ("done", None)

    def test_a_request_to_cancel_reaches_the_run(self, store: RunStore) -> None:
        def run() -> None:
            with store.running("t", task="x", interval=0.02) as hold:
                store.request_cancel(hold.run_id)
                assert hold.stop.wait(30)
                hold.check()

        with pytest.raises(RunCancelledError, match="was cancelled"):
            run()
        assert outcome(store, "t")[0] == "cancelled"

    def test_a_lost_lease_reaches_the_run_and_the_new_holder_keeps_the_thread(self, store: RunStore) -> None:
        later = []

        def run() -> None:
            with store.running("t", task="x", interval=0.02) as hold:
                later.append(take_over(store.database, "t"))
                assert hold.stop.wait(30)
                hold.check()

        with pytest.raises(LeaseError, match="taken over"):
            run()
        assert [run.status for run in store.list()] == ["running", "interrupted"]
        assert store.renew(later[0]).token == 2

    def test_a_database_that_fails_for_longer_than_the_ttl_loses_the_lease(self, shared_url: str) -> None:
        with RunStore.from_url(shared_url) as store:
            with store.running("t", task="x", ttl=1, interval=0.05) as hold:
                store.database.write(lambda c: c.execute(text("ALTER TABLE stellwerk_leases RENAME TO away")))
                assert hold.stop.wait(60)
                store.database.write(lambda c: c.execute(text("ALTER TABLE away RENAME TO stellwerk_leases")))
            with pytest.raises(LeaseError, match=r"could not be renewed for 1 seconds|without being renewed"):
                hold.check()
            assert outcome(store, "t")[0] == "done"  # nobody took it, so what was written stands

    def test_a_run_that_ends_after_it_was_taken_over_says_so(self, store: RunStore) -> None:
        with pytest.raises(LeaseError, match="taken over"), store.running("t", task="x"):
            take_over(store.database, "t")


def outcome_of(url: str) -> tuple[str, str | None]:
    with RunStore.from_url(url) as store:
        return outcome(store, "t")


class TestAsync:
    async def test_the_row_says_how_the_block_ended(self, url: str) -> None:
        async with AsyncRunStore.from_url(url) as store:
            async with store.running("done", task="x") as hold:
                hold.totals = {"calls": 3}
            with pytest.raises(ValueError, match="no"):
                async with store.running("failed", task="x"):
                    raise ValueError("no")
            inside = asyncio.Event()

            async def stopped() -> None:
                async with store.running("stopped", task="x"):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(stopped())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {run.thread_id: (run.status, run.error, run.totals) for run in await store.list()} == {
                "done": ("done", None, {"calls": 3}),
                "failed": ("failed", "ValueError: no", None),
                "stopped": ("interrupted", "CancelledError", None),
            }
            lease = await store.claim("failed", task="again")
            assert (await store.renew(lease)).token == 2
            await store.release(lease)
            for run in (await store.get(lease.run_id), await store.find("failed")):
                assert run is not None
                assert run.status == "done"

    async def test_the_heartbeat_keeps_the_lease_for_longer_than_its_ttl(self, shared_url: str) -> None:
        async with (
            AsyncRunStore.from_url(shared_url) as store,
            store.running("t", task="x", ttl=1.5, interval=0.2) as hold,
        ):
            while (hold.lease.expires_at - hold.lease.started_at).total_seconds() < 4.5:
                await asyncio.to_thread(hold.stop.wait, 0.1)
            with pytest.raises(LeaseError, match="is held by"):
                await store.claim("t", task="y")

    async def test_a_request_to_cancel_breaks_into_the_block(self, shared_url: str) -> None:
        with RunStore.from_url(shared_url) as other:
            async with AsyncRunStore.from_url(shared_url) as store:

                async def run() -> None:
                    async with store.running("t", task="x", interval=0.02) as hold:
                        await asyncio.to_thread(other.request_cancel, hold.run_id)
                        await asyncio.Event().wait()

                with pytest.raises(RunCancelledError, match="was cancelled"):
                    await run()
                await asyncio.sleep(0)  # nothing of the cancellation is left over
            assert outcome(other, "t")[0] == "cancelled"

    async def test_a_request_that_comes_too_late_leaves_nothing_behind(self, shared_url: str) -> None:
        async with AsyncRunStore.from_url(shared_url) as store:
            async with store.running("t", task="x", interval=0.02) as hold:
                await store.request_cancel(hold.run_id)
                while not hold.stop.is_set():
                    # In a task of its own, so that the block ends before the cancellation arrives.
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.shield(asyncio.to_thread(hold.stop.wait, 0.1))
            await asyncio.sleep(0)
            assert [run.status for run in await store.list()] == ["done"]

    async def test_an_error_at_the_moment_of_the_request_is_the_one_that_counts(
        self, shared_url: str
    ) -> None:
        async with AsyncRunStore.from_url(shared_url) as store:

            async def run() -> None:
                async with store.running("t", task="x", interval=0.02) as hold:
                    await store.request_cancel(hold.run_id)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        raise ValueError("no")

            with pytest.raises(ValueError, match="no"):
                await run()
            await asyncio.sleep(0)
            assert [(run.status, run.error) for run in await store.list()] == [("failed", "ValueError: no")]

    async def test_a_lost_lease_breaks_into_the_block(self, shared_url: str) -> None:
        with RunStore.from_url(shared_url) as other:
            async with AsyncRunStore.from_url(shared_url) as store:

                async def run() -> None:
                    async with store.running("t", task="x", interval=0.02):
                        await asyncio.to_thread(take_over, other.database, "t")
                        await asyncio.Event().wait()

                with pytest.raises(LeaseError, match="taken over"):
                    await run()
            assert [run.status for run in other.list()] == ["running", "interrupted"]

    async def test_an_engine_of_the_callers_stays_open(self, shared_url: str) -> None:
        engine = create_engine(shared_url)
        with RunStore.from_engine(engine) as store:
            store.claim("t", task="x")
        with RunStore.from_engine(engine) as store:
            assert len(store.list()) == 1
        engine.dispose()


class TestRenewalsThatHang:
    def test_a_sync_run_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = threading.Event()
        with RunStore.from_url("sqlite://") as store:

            def hang(lease: Lease) -> Lease:
                answer.wait(60)
                return lease

            monkeypatch.setattr(store, "renew", hang)
            with store.running("t", task="x", ttl=0.5, interval=0.05) as hold:
                told = hold.stop.wait(20)
                lost = hold.lost
            answer.set()
        assert told
        assert lost

    async def test_an_async_run_is_cancelled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with AsyncRunStore.from_url("sqlite://") as store:

            async def hang(lease: object) -> None:
                await asyncio.Event().wait()

            monkeypatch.setattr(store, "renew", hang)
            with pytest.raises(LeaseError, match=r"could not be renewed|without being renewed"):
                async with asyncio.timeout(20), store.running("t", task="x", ttl=0.5, interval=0.05):
                    await asyncio.Event().wait()

    def test_another_error_of_the_heartbeat_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(lease: object) -> None:
            raise RuntimeError("no more threads")

        with RunStore.from_url("sqlite://") as store:
            monkeypatch.setattr(store, "renew", fail)
            with store.running("t", task="x", interval=0.05) as hold:
                assert hold.stop.wait(20)
                with pytest.raises(RuntimeError, match="no more threads"):
                    hold.check()
            assert [run.status for run in store.list()] == ["done"]


def test_totals_that_are_no_json_are_refused_and_the_thread_is_free() -> None:
    with RunStore.from_url("sqlite://") as store:
        with (
            pytest.raises(InputError, match=r"totals of run .* are no JSON"),
            store.running("t", task="x") as hold,
        ):
            hold.totals = {("a", "b"): 1}  # type: ignore[dict-item]
        assert store.list()[0].status == "failed"
        store.release(store.claim("t", task="y"), status="done")
