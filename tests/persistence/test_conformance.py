"""Every capability of LangGraph's own conformance suite, on every database, async and sync."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.conftest import database

TESTS = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}
Factory = Callable[[str], AsyncIterator[BaseCheckpointSaver[str]]]


async def asynchronous(url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    async with AsyncSQLAlchemySaver.from_url(url) as saver:
        yield saver


async def synchronous(url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    with SQLAlchemySaver.from_url(url) as saver:  # its async methods call the sync ones in a thread
        yield saver


@pytest.mark.parametrize("factory", [asynchronous, synchronous])
async def test_conforms(url: str, factory: Factory) -> None:
    await conforms(url, factory)


async def test_conforms_through_asyncpg(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        await conforms(url.replace("+psycopg", "+asyncpg"), asynchronous)


async def conforms(url: str, factory: Factory) -> None:
    @checkpointer_test(name=f"{factory.__name__} {url}")
    def registered() -> AsyncIterator[BaseCheckpointSaver[str]]:
        return factory(url)

    report = await validate(registered)
    assert {name: failure for name, r in report.results.items() for failure in r.failures} == {}
    assert {name: r.tests_passed for name, r in report.results.items() if r.detected} == TESTS
