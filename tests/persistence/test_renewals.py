"""Leases that are renewed at the same time."""

import asyncio
from typing import Any

import pytest

from stellwerk.errors import DatabaseError, LeaseError
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.runs import AsyncRunStore
from tests.persistence.leases import take_over_in


async def test_many_are_renewed_in_few_transactions_and_one_that_is_lost_harms_none(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncRunStore.from_url(shared_url) as store:
        leases = [await store.claim(f"t{number}", task="x") for number in range(20)]
        await store.database.write(lambda c: take_over_in(c, "t7"))
        write, transactions = store.database.write, list[Any]()

        async def counted(unit: Any, **options: Any) -> Any:
            transactions.append(unit)
            return await write(unit, **options)

        monkeypatch.setattr(store.database, "write", counted)
        found = await asyncio.gather(*(store.renew(lease) for lease in leases), return_exceptions=True)
        assert len(transactions) == 1
        for number, (lease, renewed) in enumerate(zip(leases, found, strict=True)):
            if number == 7:
                assert isinstance(renewed, LeaseError)
            else:
                assert isinstance(renewed, Lease)
                assert (renewed.run_id, renewed.token) == (lease.run_id, 1)
                assert renewed.expires_at >= lease.expires_at
        again = await store.renew(leases[0])  # one by itself, afterwards
        assert len(transactions) == 2
        assert again.run_id == leases[0].run_id


async def test_one_who_gives_up_does_not_keep_the_others_waiting(url: str) -> None:
    async with AsyncRunStore.from_url(url) as store:
        first, second = [await store.claim(name, task="x") for name in ("a", "b")]
        leaving, staying = asyncio.create_task(store.renew(first)), asyncio.create_task(store.renew(second))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).run_id == second.run_id
        assert leaving.cancelled()


async def test_all_are_told_that_the_database_fails() -> None:
    store = AsyncRunStore.from_url("sqlite://")
    leases = [await store.claim(name, task="x") for name in ("a", "b")]
    await store.close()
    found = await asyncio.gather(*(store.renew(lease) for lease in leases), return_exceptions=True)
    assert [type(each) for each in found] == [DatabaseError] * 2
