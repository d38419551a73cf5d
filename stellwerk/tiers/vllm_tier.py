"""A tier on one or several vLLM servers."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from stellwerk.tiers.served import served_tier
from stellwerk.tiers.tier import Price, Tier


def vllm_tier(
    name: str,
    *,
    model: str,
    base_url: str | Sequence[str],
    api_key: SecretStr | None = None,
    adapter: str | None = None,
    priority: int | None = None,
    cache_salt: str | None = None,
    price: Price | None = None,
    context_window: int = 32_768,
    max_concurrency: int | None = 16,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    timeout: float = 120.0,
    patience: float = 10.0,
    max_wait: float = 300.0,
    max_retries: int = 4,
    metrics: bool = True,
) -> Tier:
    """A tier on a vLLM server, through `ChatVLLM`; what is not named here is as for `openai_tier`.

    Args:
        name: how decisions, traces and the ledger call it.
        model: the base model's name at the server.
        base_url: of the server, up to and with `/v1`; several for replicas that serve the same model.
        api_key: what the server was started with as `--api-key`; the placeholder `EMPTY` if None.
        adapter: name of a LoRA adapter at the server, which then answers in place of the base model.
        priority: lower is served earlier; the server needs `--scheduling-policy priority`.
        cache_salt: prompts share the server's prefix cache only with those of the same salt.
        price: USD per million tokens; None counts the tier as unpriced.
        context_window: tokens of prompt and answer together.
        max_concurrency: requests at a time, over all replicas.
        requests_per_minute: over all replicas; None for no limit.
        tokens_per_minute: of prompts and answers, over all replicas; None for no limit.
        timeout: seconds for one try.
        patience: seconds that a call waits, while no place is granted to anyone or no server takes it, where
            another tier may be asked instead.
        max_wait: seconds that any call waits so.
        max_retries: tries after the first, where the server was at fault.
        metrics: whether `/metrics` is read, once a second at most, to see how long the servers' queues are.

    Raises:
        ConfigurationError: if a limit is below one, or if a URL is listed twice.
    """
    from stellwerk.tiers.vllm import ChatVLLM  # half a second, which a ladder of embedded models need not pay

    salt = None if cache_salt is None else SecretStr(cache_salt)

    def chat(url: str | None) -> BaseChatModel:
        return ChatVLLM(
            model=model,
            base_url=url,
            api_key=api_key,
            adapter=adapter,
            priority=priority,
            cache_salt=salt,
            timeout=timeout,
            max_retries=0,  # a try in there would hold no place, and be counted by nobody
        )

    return served_tier(
        name,
        base_url,
        chat,
        price=price,
        context_window=context_window,
        max_concurrency=max_concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        timeout=timeout,
        patience=patience,
        max_wait=max_wait,
        max_retries=max_retries,
        metrics=metrics,
    )
