"""Routers in a database: which one serves, which did, and why."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from stellwerk.errors import InputError, UntrustedDataError
from stellwerk.persistence.routers import AsyncSQLAlchemyRouterRegistry, SQLAlchemyRouterRegistry
from stellwerk.persistence.schema.routers import parts

CARD: dict[str, Any] = {"trained_on": {"episodes": 40}, "limits": ["small: 3 traces only"]}
WHO: dict[str, Any] = {"who": "ada", "why": "it is better"}


@pytest.fixture
def registry(url: str) -> Iterator[SQLAlchemyRouterRegistry]:
    with SQLAlchemyRouterRegistry.from_url(url) as registry:
        yield registry


def states(registry: SQLAlchemyRouterRegistry) -> dict[str, str]:
    return {router.version: router.state for router in registry.list()}


def add(registry: SQLAlchemyRouterRegistry, *versions: str) -> None:
    for version in versions:
        registry.add(version, version.encode(), CARD)


def test_a_router_comes_back_as_it_was_added(registry: SQLAlchemyRouterRegistry) -> None:
    file = os.urandom(3_000_000)
    added = registry.add("abc", file, CARD)
    assert (added.version, added.state, added.card, added.size) == ("abc", "candidate", CARD, 3_000_000)
    assert registry.load("abc") == file
    assert registry.list() == [added]
    assert registry.find("a") == registry.in_state("candidate") == added
    registry.promote("abc", **WHO)
    assert registry.add("abc", file, {}).state == "active"


def test_a_file_too_large_for_a_statement_is_taken(server_url: str) -> None:
    file = os.urandom(20_000_000)
    with SQLAlchemyRouterRegistry.from_url(server_url) as registry:
        registry.add("abc", file, CARD)
        assert registry.load("abc") == file


def test_a_file_that_was_changed_is_refused(registry: SQLAlchemyRouterRegistry) -> None:
    registry.add("abc", b"x" * 2_000_000, CARD)
    registry.database.write(lambda c: c.execute(update(parts).where(parts.c.part == 1).values(data=b"evil")))
    with pytest.raises(UntrustedDataError, match="router abc is not the one that was added"):
        registry.load("abc")


def test_one_router_serves_and_rollback_goes_the_way_back(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a", "b", "c")
    for version in ("a", "b", "c"):
        registry.promote(version, **WHO)
    assert states(registry) == {"a": "retired", "b": "retired", "c": "active"}
    for version in ("b", "a"):
        moved = registry.rollback(who="bob", why="it is worse")
        assert (moved.kind, moved.version) == ("rollback", version)
        active = registry.in_state("active")
        assert active is not None
        assert active.version == version
    last = registry.rollback(who="bob", why="it is worse")
    assert (last.version, last.replaced) == (None, "a")
    assert registry.in_state("active") is None
    with pytest.raises(InputError, match="no router is active"):
        registry.rollback(who="bob", why="it is worse")


def test_a_rollback_to_a_router_that_was_deleted_is_refused(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a", "b")
    registry.promote("a", **WHO)
    registry.promote("b", **WHO)
    registry.discard("a")
    with pytest.raises(InputError, match=r"router a, which served before, was deleted; .* retire b"):
        registry.rollback(**WHO)
    assert states(registry) == {"b": "active"}


def test_the_history_says_who_when_why_and_on_what(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a", "b")
    registry.promote("a", who="ada", why="first", evidence={"dr": [0.9, 0.8, 1.0]})
    registry.shadow("b", who="ada", why="to see")
    registry.promote("b", who="bob", why="better")
    registry.retire("b", who="eve", why="an alarm")
    told = registry.history()
    assert [(one.kind, one.version, one.replaced, one.who) for one in told] == [
        ("retire", None, "b", "eve"),
        ("promote", "b", "a", "bob"),
        ("shadow", "b", None, "ada"),
        ("promote", "a", None, "ada"),
    ]
    assert told[-1].evidence == {"dr": [0.9, 0.8, 1.0]}
    assert [one.moved_at for one in told] == sorted((one.moved_at for one in told), reverse=True)
    assert [one.why for one in registry.history("a")] == ["better", "first"]
    assert len(registry.history(limit=1)) == 1


def test_a_shadow_takes_the_place_of_another(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a", "b")
    registry.shadow("a", **WHO)
    registry.shadow("b", **WHO)
    assert states(registry) == {"a": "candidate", "b": "shadow"}
    registry.promote("b", **WHO)
    assert registry.in_state("shadow") is None


def test_what_makes_no_sense_is_refused_and_changes_nothing(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "aa", "ab")
    registry.promote("aa", **WHO)
    with pytest.raises(InputError, match="active one already"):
        registry.promote("aa", **WHO)
    with pytest.raises(InputError, match="no shadow of itself"):
        registry.shadow("aa", **WHO)
    with pytest.raises(InputError, match="no router of version 'zz'"):
        registry.promote("zz", **WHO)
    with pytest.raises(InputError, match="no router of version 'z'"):
        registry.find("z")
    with pytest.raises(InputError, match="begin with 'a', such as aa and ab"):
        registry.find("a")
    with pytest.raises(InputError, match="no router of version"):
        registry.load("zz")
    with pytest.raises(InputError, match="who is blank"):
        registry.promote("ab", who=" ", why="x")
    with pytest.raises(InputError, match="the evidence holds nan"):
        registry.promote("ab", who="x", why="x", evidence={"dr": float("nan")})
    with pytest.raises(InputError, match="router aa is active; retire it first"):
        registry.discard("aa")
    assert states(registry) == {"aa": "active", "ab": "candidate"}
    assert len(registry.history()) == 1


def test_a_card_can_be_replaced(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a")
    for _ in range(2):
        registry.describe("a", {"note": "new"})
    assert registry.find("a").card == {"note": "new"}
    with pytest.raises(InputError, match="no router of version 'b'"):
        registry.describe("b", {})


def test_a_router_is_discarded_with_its_file(registry: SQLAlchemyRouterRegistry) -> None:
    add(registry, "a")
    registry.discard("a")
    assert registry.list() == []
    with pytest.raises(InputError, match="no router of version"):
        registry.load("a")


def test_of_several_who_promote_at_once_one_is_active(shared_url: str) -> None:
    versions = [f"v{number}" for number in range(8)]
    with SQLAlchemyRouterRegistry.from_url(shared_url) as registry:
        add(registry, *versions)

    def promote(version: str) -> None:
        with SQLAlchemyRouterRegistry.from_url(shared_url) as other:
            other.promote(version, **WHO)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(promote, versions))
    with SQLAlchemyRouterRegistry.from_url(shared_url) as registry:
        assert sorted(states(registry).values()) == ["active", *["retired"] * 7]
        told = registry.history()
        assert [one.number for one in told] == list(range(8, 0, -1))
        assert [one.replaced for one in told] == [*(one.version for one in told[1:]), None]
        active = registry.in_state("active")
        assert active is not None
        assert active.version == told[0].version


async def test_async_code_reads_and_writes_the_same(shared_url: str) -> None:
    async with AsyncSQLAlchemyRouterRegistry.from_url(shared_url) as registry:
        for version in ("a", "b", "c"):
            await registry.add(version, version.encode(), CARD)
        await registry.promote("a", **WHO)
        await registry.shadow("b", **WHO)
        await registry.promote("b", **WHO)
        await registry.rollback(**WHO)
        assert (await registry.find("a")).state == "active"
        assert await registry.load("b") == b"b"
        await registry.retire("a", **WHO)
        await registry.describe("b", {"note": "new"})
        await registry.discard("c")
        assert await registry.in_state("active") is None
        assert len(await registry.history()) == 5
        listed = await registry.list()
    with SQLAlchemyRouterRegistry.from_url(shared_url) as sync:
        assert sync.list() == listed
