"""The orchestrator that runs when nothing is chosen: what the command line and Studio start from."""

from __future__ import annotations

import os

from pydantic import SecretStr
from typing_extensions import TypedDict, Unpack

from stellwerk.budget import Budget
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.orchestrator import Orchestrator, create_orchestrator
from stellwerk.nodes.synthesize import Synthesizer
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.settings import Settings, TierSettings
from stellwerk.tiers.embedded import embedded_ladder
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Price, Tier
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker
from stellwerk.workers import (
    calculate_worker,
    extract_worker,
    look_up_worker,
    summarise_worker,
    write_worker,
)

# Where an attempt on a smaller model only costs time, or passes the checks with a wrong answer: the 135M
# model gets no figure right and writes false sentences of true figures, and the 0.5B model copies one text
# passage in five as asked. The next smaller model follows, for ladders without the first.
_START = {
    "extract": ("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"),
    "look_up": ("qwen2.5-coder-0.5b",),
    "calculate": ("qwen2.5-coder-0.5b",),
    "summarise": ("qwen2.5-coder-0.5b",),
    "write": ("qwen2.5-coder-0.5b",),
}


class Options(TypedDict, total=False):
    """What `create_orchestrator` takes besides workers and ladder."""

    router: Router | None
    planner: Tier | None
    synthesizer: Synthesizer
    budget: Budget | None
    fallback: str | None
    max_subtasks: int
    max_tokens: int
    traces: TraceSink | None


def default_ladder(settings: Settings) -> Ladder:
    """The configured tiers, or the embedded ladder where none is configured.

    Raises:
        ConfigurationError: if a model is unknown, a key is not set, or the order of prices is wrong.
    """
    if settings.tiers:
        return Ladder([_tier(tier) for tier in settings.tiers])
    return embedded_ladder(settings.models)


def default_workers() -> list[Worker]:
    """Workers that need no choice of yours. `classify_worker` is left out: it needs labels."""
    return [look_up_worker(), calculate_worker(), extract_worker(), summarise_worker(), write_worker()]


def default_router(ladder: Ladder) -> SmallestFirst:
    """Smallest first, but for jobs of which the smallest embedded models were found incapable."""
    start = {}
    for worker, tiers in _START.items():
        if able := [tier for tier in tiers if tier in ladder.names]:
            start[worker] = able[0]
    return SmallestFirst(start=start)


def default_orchestrator(
    settings: Settings | None = None, *, ladder: Ladder | None = None, **options: Unpack[Options]
) -> Orchestrator:
    """The default workers on the configured ladder, uncompiled.

    Args:
        settings: `Settings.load()` if None.
        ladder: as `default_ladder` gives it, if None; `probe_ladder` makes one that knows its servers.
        **options: as for `create_orchestrator`.

    Raises:
        ConfigurationError: if the settings cannot be used.
    """
    if ladder is None:
        ladder = default_ladder(settings or Settings.load())
    chosen: Options = {"router": default_router(ladder), "fallback": "write", **options}
    return create_orchestrator(default_workers(), ladder, **chosen)


def _tier(tier: TierSettings) -> Tier:
    price = None
    if tier.input_price is not None and tier.output_price is not None:
        price = Price(input=tier.input_price, cached=tier.cached_price, output=tier.output_price)
    return openai_tier(
        tier.name,
        model=tier.model,
        base_url=tier.base_url,
        api_key=_key(tier),
        price=price,
        context_window=tier.context_window,
        max_concurrency=tier.max_concurrency,
    )


def _key(tier: TierSettings) -> SecretStr | None:
    if tier.api_key_env is not None:
        if not (key := os.environ.get(tier.api_key_env)):
            raise ConfigurationError(
                f"tier {tier.name!r} takes its key from {tier.api_key_env}, which is not set; export it first"
            )
        return SecretStr(key)
    # Without a name of its own, a server never gets the key that is meant for another one.
    return SecretStr("EMPTY") if tier.base_url is not None else None
