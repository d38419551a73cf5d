"""What servers were seen to do, as it is stored."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from stellwerk.capabilities import Capabilities, FoundCapabilities
from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore, SQLAlchemyCapabilityStore
from stellwerk.persistence.schema.capabilities import capabilities

URL = "http://127.0.0.1:8000/v1"
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
ABLE = Capabilities(
    chat=True,
    json_schema=True,
    guided_json=False,
    unparsable_schema="refused",
    context_window=4096,
    server="vllm",
    version="0.32.0",
    details={"guided_json": "accepted and ignored: the answer is 'hällo \N{GRINNING FACE}'"},
    unanswered=("auto_tool",),
    probe=1,
)
FOUND = FoundCapabilities(url=URL, model="m", capabilities=ABLE, probed_at=NOW)


def found(**fields: object) -> FoundCapabilities:
    return replace(FOUND, capabilities=replace(ABLE, **fields))  # type: ignore[arg-type]


@pytest.fixture
def store(url: str) -> Iterator[SQLAlchemyCapabilityStore]:
    with SQLAlchemyCapabilityStore.from_url(url) as store:
        yield store


def test_what_is_saved_is_found(store: SQLAlchemyCapabilityStore) -> None:
    store.save(FOUND)
    assert store.find(URL, "m") == store.find(URL, "m", "0.32.0") == FOUND


async def test_async_code_reads_and_writes_the_same(shared_url: str) -> None:
    async with AsyncSQLAlchemyCapabilityStore.from_url(shared_url) as store:
        assert await store.find(URL, "m") is None
        await store.save(FOUND)
        assert await store.find(URL, "m", "0.32.0") == FOUND
    with SQLAlchemyCapabilityStore.from_url(shared_url) as again:
        assert again.find(URL, "m") == FOUND


def test_another_url_model_or_version_is_another_server(store: SQLAlchemyCapabilityStore) -> None:
    store.save(FOUND)
    assert store.find(URL + "/", "m") is None
    assert store.find(URL, "M") is None
    assert store.find(URL[:-1], "1m") is None
    assert store.find(URL, "m", "0.33.0") is None
    assert store.find(URL, "m", "") is None


def test_each_version_is_kept_and_the_last_seen_is_found_first(store: SQLAlchemyCapabilityStore) -> None:
    newer = replace(found(version="0.33.0", guided_json=True), probed_at=NOW + timedelta(hours=1))
    store.save(newer)
    store.save(FOUND)
    assert store.find(URL, "m") == newer
    assert store.find(URL, "m", "0.32.0") == FOUND


def test_a_later_probe_takes_the_place_of_an_earlier_one_and_not_the_other_way(
    store: SQLAlchemyCapabilityStore,
) -> None:
    later = replace(found(json_schema=False), probed_at=NOW + timedelta(microseconds=1))
    for each in (FOUND, later, FOUND):
        store.save(each)
    assert store.find(URL, "m") == later


def test_a_probe_that_adds_to_what_was_found_keeps_its_date(store: SQLAlchemyCapabilityStore) -> None:
    added = found(auto_tool=True, unanswered=())
    store.save(FOUND)
    store.save(added)
    assert store.find(URL, "m") == added


@pytest.mark.parametrize("version", ["", "v" * 2_000, "0.32.0+cpu\0\N{SNOWMAN}"])
def test_versions_of_any_form(store: SQLAlchemyCapabilityStore, version: str) -> None:
    odd = found(version=version)
    store.save(odd)
    assert store.find(URL, "m", version) == odd


@pytest.mark.parametrize("stored", ["", "[]", "null", '{"json_schema": "yes", "details": 7, "unknown": 1}'])
def test_what_cannot_be_read_is_not_known(store: SQLAlchemyCapabilityStore, stored: str) -> None:
    store.save(FOUND)
    store.database.write(lambda connection: connection.execute(capabilities.update().values(found=stored)))
    read = store.find(URL, "m")
    assert read is not None
    assert read.capabilities == Capabilities()


def test_the_table_has_what_a_person_would_look_for(store: SQLAlchemyCapabilityStore) -> None:
    store.save(FOUND)
    row = store.database.read(lambda connection: connection.execute(select(capabilities)).one())
    assert (row.url, row.model, bytes(row.version), row.probed_at) == (URL, "m", b"0.32.0", NOW)
