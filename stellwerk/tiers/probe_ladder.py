"""A ladder whose tiers know what their servers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce

from stellwerk.capabilities import AsyncCapabilityStore, Capabilities, CapabilityStore
from stellwerk.tiers.embedded import EMBEDDED
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.probe import LIMIT, aprobe, probe
from stellwerk.tiers.probe_reach import Endpoint
from stellwerk.tiers.tier import Tier
from stellwerk.tiers.tokenizers import served_tokenizer


def probe_ladder(
    ladder: Ladder,
    store: CapabilityStore | None = None,
    *,
    refresh: bool = False,
    limit: float = LIMIT,
    tell: Callable[[str], None] = lambda tier: None,
) -> Ladder:
    """The ladder with the capabilities of its tiers, and with context windows no larger than the servers'.

    Of a tier with replicas each is asked, and what all of them do is relied on.

    Nothing that a server does ends in an error here: a tier whose server does not answer has what the store
    knows of it, or no capabilities. Models in this process are not asked, as a test holds what they do.

    Args:
        ladder: the tiers; one that has capabilities keeps them.
        store: where they are kept.
        refresh: whether to ask again what the store knows.
        limit: seconds for each server; they are asked side by side.
        tell: called with the name of a tier before its server is asked, from any thread.

    Raises:
        DatabaseError: if the store fails.
    """

    def ask(server: Tier) -> Capabilities:
        found = probe(server, store, refresh=refresh, limit=limit, starting=lambda: tell(server.name))
        if not found.capabilities.chat and store is not None:
            found = store.find(found.url, found.model) or found
        return found.capabilities

    every = [server for tier in ladder if _settled(tier) is None for server in servers(tier)]
    with ThreadPoolExecutor(max(len(every), 1), thread_name_prefix="stellwerk-probe") as pool:
        seen = list(pool.map(ask, every))
    return _equipped(ladder, every, seen)


async def aprobe_ladder(
    ladder: Ladder,
    store: AsyncCapabilityStore | None = None,
    *,
    refresh: bool = False,
    limit: float = LIMIT,
    tell: Callable[[str], None] = lambda tier: None,
) -> Ladder:
    """As `probe_ladder`, for async code."""

    async def ask(server: Tier) -> Capabilities:
        found = await aprobe(server, store, refresh=refresh, limit=limit, starting=lambda: tell(server.name))
        if not found.capabilities.chat and store is not None:
            found = await store.find(found.url, found.model) or found
        return found.capabilities

    every = [server for tier in ladder if _settled(tier) is None for server in servers(tier)]
    return _equipped(ladder, every, await asyncio.gather(*map(ask, every)))


def _settled(tier: Tier) -> Tier | None:
    if tier.capabilities is not None:
        return tier
    return replace(tier, capabilities=EMBEDDED) if isinstance(tier.model, ChatLlamaCpp) else None


def servers(tier: Tier) -> list[Tier]:
    """The tier once for each of its replicas, which share its places."""
    models = [replica.model for replica in tier.replicas] or [tier.model]
    places = tier.max_concurrency and max(tier.max_concurrency // len(models), 1)
    return [replace(tier, model=model, max_concurrency=places) for model in models]


def _equipped(ladder: Ladder, asked: Sequence[Tier], seen: Sequence[Capabilities]) -> Ladder:
    tiers = []
    for tier in ladder:
        own = [able for server, able in zip(asked, seen, strict=True) if server.name == tier.name]
        tiers.append(_settled(tier) or _relying_on(tier, own))
    return Ladder(tiers)


def _relying_on(tier: Tier, seen: Sequence[Capabilities]) -> Tier:
    # A replica that is down says nothing of the others.
    known = [each for each in seen if each.chat]
    if not known:
        return tier
    able = reduce(Capabilities.common, known)
    window = min(tier.context_window, able.context_window or tier.context_window)
    tokenizer, endpoint = tier.tokenizer, Endpoint.of(tier.model)
    if tokenizer is None and able.tokenizer and endpoint is not None:
        tokenizer = served_tokenizer(endpoint.shown, model=endpoint.model)
    return replace(tier, capabilities=able, context_window=window, tokenizer=tokenizer)
