"""The orchestrator that runs when nothing is chosen: what the command line and Studio start from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from langgraph.store.base import BaseStore
from pydantic import SecretStr
from typing_extensions import TypedDict, Unpack

from stellwerk.budget import Budget, RunBudget
from stellwerk.effects import EffectJournal
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.declared import (
    READY_MADE,
    declared_budget,
    declared_router,
    declared_run_budget,
    declared_workers,
)
from stellwerk.graphs.declared_errors import with_declared_errors
from stellwerk.graphs.kept import declared_keeping
from stellwerk.graphs.orchestrator import Orchestrator, create_orchestrator
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.nodes.synthesize import Synthesizer
from stellwerk.observer import Observer
from stellwerk.observing.configured import configured_observers
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.settings import Settings, TierSettings
from stellwerk.tiers.embedded import embedded_ladder
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Price, Tier
from stellwerk.tiers.vllm_tier import vllm_tier
from stellwerk.trace import TraceSink
from stellwerk.worker import Worker

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
    run_budget: RunBudget | None
    fallback: str | None
    max_subtasks: int
    max_tokens: int
    replans: int
    plans: BaseStore | None
    traces: TraceSink | None
    cache: ResultsCache | None
    observers: Sequence[Observer]
    effects: EffectJournal | None
    approve: Collection[str]
    ask: bool | Collection[str]


def default_ladder(settings: Settings) -> Ladder:
    """The configured tiers, or the embedded ladder where none is configured.

    Raises:
        ConfigurationError: if a model is unknown, a key is not set, or the order of prices is wrong.
    """
    if not settings.tiers:
        return embedded_ladder(settings.models)
    # One ladder for all embedded tiers: one call runs at a time over all of them.
    models = tuple(dict.fromkeys(settings.embedded_models))
    embedded = {tier.name: tier for tier in embedded_ladder(models)} if models else {}
    return Ladder(
        [
            _embedded_tier(tier, embedded[tier.model]) if tier.kind == "embedded" else _server_tier(tier)
            for tier in settings.tiers
        ]
    )


def default_workers() -> list[Worker]:
    """Workers that need no choice of yours. `classify_worker` is left out: it needs labels."""
    return [make() for make in READY_MADE.values()]


def configured_workers(settings: Settings) -> list[Worker]:
    """The workers that the settings name, or the default ones where they name none, with their policies.

    Raises:
        ConfigurationError: if an import path leads to no worker, or a policy is for none of them.
    """
    workers = declared_workers(settings) if settings.workers else default_workers()
    return with_declared_errors(settings, workers)


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
    """The configured workers, or the default ones, on the configured ladder, uncompiled.

    Args:
        settings: `Settings.load()` if None.
        ladder: as `default_ladder` gives it, if None; `probe_ladder` makes one that knows its servers.
        **options: as for `create_orchestrator`, each in the place of what the settings say. Without `plans`,
            `cache` or `effects`, what is to be kept is in the settings' database.

    Raises:
        ConfigurationError: if the settings or their database cannot be used, or an observer's package is not
            installed.
    """
    settings = settings or Settings.load()
    ladder = ladder or default_ladder(settings)
    workers = configured_workers(settings)
    chosen: Options = {
        "router": _router(settings, workers, ladder, options),
        "budget": declared_budget(settings),
        "run_budget": declared_run_budget(settings),
        "replans": settings.planning.replans,
        "approve": settings.people.approve,
        "ask": settings.people.ask,
        "observers": configured_observers(settings),
        "fallback": "write" if any(worker.name == "write" for worker in workers) else None,
        **declared_keeping(settings, workers, options),
        **options,
    }
    return create_orchestrator(workers, ladder, **chosen)


def _router(settings: Settings, workers: list[Worker], ladder: Ladder, options: Options) -> Router | None:
    # One that is given needs no database to be looked into.
    given = options.get("router")
    return given or declared_router(settings, workers, ladder, default=default_router(ladder))


def _server_tier(tier: TierSettings) -> Tier:
    """A tier behind a URL or several: the one place where its settings become arguments."""
    # Without a key of its own, a server never gets the one that is meant for another.
    key = tier.api_key() or (SecretStr("EMPTY") if tier.url else None)
    limits: dict[str, Any] = {
        "context_window": tier.context_window,
        "max_concurrency": tier.max_concurrency,
        "requests_per_minute": tier.requests_per_minute,
        "tokens_per_minute": tier.tokens_per_minute,
        "timeout": tier.timeout,
    }
    for name in ("patience", "max_wait", "max_retries", "metrics"):
        if (value := getattr(tier, name)) is not None:
            limits[name] = value
    if tier.kind == "vllm":
        return vllm_tier(
            tier.name,
            model=tier.model,
            base_url=tier.url,
            api_key=key,
            adapter=tier.adapter,
            priority=tier.priority,
            price=_price(tier),
            **limits,
        )
    if tier.priority is not None:
        raise ConfigurationError(f"tier {tier.name!r}: priority is vLLM's; set kind to 'vllm', or remove it")
    return openai_tier(
        tier.name,
        model=tier.adapter or tier.model,
        base_url=tier.url or None,
        api_key=key,
        price=_price(tier),
        **limits,
    )


def _embedded_tier(tier: TierSettings, ready: Tier) -> Tier:
    # What is not set is the embedded ladder's: a CPU takes longer than a server's default allows.
    limits: dict[str, Any] = {
        key: value
        for key in ("timeout", "patience")
        if key in tier.model_fields_set and (value := getattr(tier, key)) is not None
    }
    return replace(
        ready,
        **limits,
        name=tier.name,
        price=_price(tier) or ready.price,
        context_window=min(tier.context_window, ready.context_window),
    )


def _price(tier: TierSettings) -> Price | None:
    if tier.input_price is not None and tier.output_price is not None:
        return Price(input=tier.input_price, cached=tier.cached_price, output=tier.output_price)
    if (listed := tier.listed) is not None:
        return Price(input=listed.input, cached=listed.cached, output=listed.output)
    return None
