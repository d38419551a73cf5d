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
from stellwerk.tiers.tier import Tier


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
        limit: seconds for each server; tiers are asked side by side.
        tell: called with the name of a tier before its server is asked, from any thread.

    Raises:
        DatabaseError: if the store fails.
    """

    def one(tier: Tier) -> Tier:
        if (settled := _settled(tier)) is not None:
            return settled
        seen = []
        for server in servers(tier):
            found = probe(server, store, refresh=refresh, limit=limit, starting=lambda: tell(tier.name))
            if not found.capabilities.chat and store is not None:
                found = store.find(found.url, found.model) or found
            seen.append(found.capabilities)
        return _equipped(tier, seen)

    with ThreadPoolExecutor(len(ladder), thread_name_prefix="stellwerk-probe") as pool:
        return Ladder(list(pool.map(one, ladder)))


async def aprobe_ladder(
    ladder: Ladder,
    store: AsyncCapabilityStore | None = None,
    *,
    refresh: bool = False,
    limit: float = LIMIT,
    tell: Callable[[str], None] = lambda tier: None,
) -> Ladder:
    """As `probe_ladder`, for async code."""

    async def one(tier: Tier) -> Tier:
        if (settled := _settled(tier)) is not None:
            return settled
        seen = []
        for server in servers(tier):
            found = await aprobe(
                server, store, refresh=refresh, limit=limit, starting=lambda: tell(tier.name)
            )
            if not found.capabilities.chat and store is not None:
                found = await store.find(found.url, found.model) or found
            seen.append(found.capabilities)
        return _equipped(tier, seen)

    return Ladder(await asyncio.gather(*map(one, ladder)))


def _settled(tier: Tier) -> Tier | None:
    if tier.capabilities is not None:
        return tier
    return replace(tier, capabilities=EMBEDDED) if isinstance(tier.model, ChatLlamaCpp) else None


def servers(tier: Tier) -> list[Tier]:
    """The tier once for each of its replicas."""
    models = [replica.model for replica in tier.replicas]
    return [replace(tier, model=model) for model in models] or [tier]


def _equipped(tier: Tier, seen: Sequence[Capabilities]) -> Tier:
    # A replica that is down says nothing of the others.
    known = [each for each in seen if each.chat]
    if not known:
        return tier
    able = reduce(Capabilities.common, known)
    window = min(tier.context_window, able.context_window or tier.context_window)
    return replace(tier, capabilities=able, context_window=window)
