"""Ladders whose tiers know what their servers do."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellwerk.capabilities import Capabilities
from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore, SQLAlchemyCapabilityStore
from stellwerk.tiers.embedded import EMBEDDED, embedded_ladder
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.probe_ladder import aprobe_ladder, probe_ladder
from stellwerk.tiers.tier import Tier
from tests.fakes import Scripted, always
from tests.tiers.servers import Probed, error, serve_probed
from tests.tiers.test_tier import closed_port

Equip = Callable[..., Ladder]


@pytest.fixture(params=["sync", "async"])
def equip(request: pytest.FixtureRequest, tmp_path: Path) -> Equip:
    """`probe_ladder` or `aprobe_ladder`, with a store on the same file."""
    path = tmp_path / "known.sqlite"
    if request.param == "sync":

        def sync(ladder: Ladder, **options: Any) -> Ladder:
            with SQLAlchemyCapabilityStore.from_url(path) as store:
                return probe_ladder(ladder, store, **options)

        return sync

    async def asynchronous(ladder: Ladder, **options: Any) -> Ladder:
        async with AsyncSQLAlchemyCapabilityStore.from_url(path) as store:
            return await aprobe_ladder(ladder, store, **options)

    return lambda ladder, **options: asyncio.run(asynchronous(ladder, **options))


def tier_on(server: Probed, name: str = "small", **fields: Any) -> Tier:
    return openai_tier(name, model=server.model, base_url=server.url, **fields)


def test_each_tier_gets_what_its_own_server_does(equip: Equip) -> None:
    told: list[str] = []
    with serve_probed() as one, serve_probed(json_schema="ignore") as two:
        ladder = Ladder([tier_on(one), tier_on(two, "large")])
        equipped = equip(ladder, tell=told.append)
        again = equip(ladder, tell=told.append)
    assert [tier.capabilities.json_schema for tier in equipped if tier.capabilities] == [True, False]
    assert [tier.capabilities for tier in again] == [tier.capabilities for tier in equipped]
    assert sorted(told) == ["large", "small"]  # only when they were asked
    assert ladder.smallest.capabilities is None


def test_everything_else_of_a_tier_stays_as_it_was(equip: Equip) -> None:
    with serve_probed() as server:
        tier = tier_on(server, max_concurrency=3)
        (equipped,) = equip(Ladder([tier]))
    assert (equipped.name, equipped.model, equipped.price) == (tier.name, tier.model, tier.price)
    assert equipped.gate is tier.gate


@pytest.mark.parametrize(("declared", "then"), [(32_768, 4_096), (2_048, 2_048)])
def test_a_context_window_is_no_larger_than_the_servers(equip: Equip, declared: int, then: int) -> None:
    with serve_probed() as server:
        (equipped,) = equip(Ladder([tier_on(server, context_window=declared)]))
    assert equipped.context_window == then


def test_a_server_that_is_not_there_leaves_its_tier_as_it_was(equip: Equip) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    with serve_probed() as server:
        gone = openai_tier("small", model="m", base_url=url)
        equipped = equip(Ladder([gone, tier_on(server, "large")]))
    assert equipped.smallest is gone
    assert equipped.largest.capabilities is not None


def test_of_a_server_that_went_away_the_last_that_was_seen_counts(equip: Equip) -> None:
    with serve_probed(json_schema="ignore") as server:
        ladder = Ladder([tier_on(server)])
        first = equip(ladder)
    assert equip(ladder).smallest.capabilities == first.smallest.capabilities


def test_of_a_server_that_is_busy_the_last_that_was_seen_counts(equip: Equip) -> None:
    with serve_probed(json_schema="ignore") as server:
        ladder = Ladder([tier_on(server)])
        equip(ladder)
        server.special = lambda body: (503, error("busy"))
        able = equip(ladder, refresh=True).smallest.capabilities
    assert able is not None
    assert able.json_schema is False


def test_what_is_given_is_not_asked_for(equip: Equip, tmp_path: Path) -> None:
    declared = Capabilities(json_schema=False)
    absent = ChatLlamaCpp(path=tmp_path / "absent.gguf")
    with serve_probed() as server:
        base = tier_on(server, "middle")
        ladder = Ladder(
            [
                Tier(name="own", model=Scripted(reply=always("hello"))),
                Tier(name="middle", model=base.model, capabilities=declared),
                Tier(name="embedded", model=absent),
                *embedded_ladder(["smollm2-135m"]),
            ]
        )
        own, middle, embedded, smallest = equip(ladder)
    assert server.paths == []
    assert own.capabilities is None
    assert middle.capabilities == declared
    assert embedded.capabilities == EMBEDDED
    assert smallest.capabilities is not None
    assert smallest.capabilities.context_window == smallest.context_window


def test_without_a_store_a_ladder_is_asked_each_time() -> None:
    with serve_probed() as server:
        for _ in range(2):
            server.forget()
            assert probe_ladder(Ladder([tier_on(server)])).smallest.capabilities is not None
            assert server.chats


def test_replicas_are_relied_on_for_what_all_of_them_do(equip: Equip) -> None:
    with serve_probed() as one, serve_probed(json_schema="ignore") as two:
        urls = [one.url, two.url, f"http://127.0.0.1:{closed_port()}/v1"]
        tier = openai_tier("small", model="m", base_url=urls)
        able = equip(Ladder([tier])).smallest.capabilities
    assert one.chats
    assert two.chats
    assert able is not None
    assert (able.json_schema, able.named_tool) == (False, True)


def test_a_tier_counts_tokens_with_its_server_where_that_does(equip: Equip) -> None:
    with serve_probed() as server:
        (equipped,) = equip(Ladder([tier_on(server)]))
        assert equipped.capabilities is not None
        assert equipped.capabilities.tokenizer
        assert equipped.tokenizer is not None
        assert equipped.tokenizer("one two three") == 2  # as this server counts
        own = replace(tier_on(server), tokenizer=len)
        (kept,) = equip(Ladder([own]))
        assert kept.tokenizer is len


def test_replicas_that_hang_hold_a_run_up_once_and_not_one_after_the_other(equip: Equip) -> None:
    both = threading.Barrier(2, timeout=20.0)

    def meet(probed: Probed) -> None:
        if len(probed.chats) == 1:
            both.wait()  # raises where the other server is not asked meanwhile

    with serve_probed() as one, serve_probed() as two:
        one.special, two.special = (lambda body: meet(one)), (lambda body: meet(two))
        tier = openai_tier("small", model="m", base_url=[one.url, two.url], max_concurrency=2)
        assert equip(Ladder([tier])).smallest.capabilities is not None
