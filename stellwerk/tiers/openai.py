"""A tier behind any OpenAI-compatible URL, or several: vLLM, a hosted API, a gateway."""

from __future__ import annotations

import os
from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from stellwerk.tiers.http_clients import client_per_loop, limited_client
from stellwerk.tiers.served import served_tier
from stellwerk.tiers.tier import Price, Tier


def openai_tier(
    name: str,
    *,
    model: str,
    base_url: str | Sequence[str] | None = None,
    api_key: SecretStr | None = None,
    price: Price | None = None,
    context_window: int = 32_768,
    max_concurrency: int | None = 16,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    timeout: float = 120.0,
    patience: float = 10.0,
    max_wait: float = 300.0,
    max_retries: int = 4,
    metrics: bool = False,
) -> Tier:
    """A tier served over HTTP.

    Args:
        name: how decisions, traces and the ledger call it.
        model: the model's name at the server.
        base_url: for example `http://127.0.0.1:8000/v1`; several for replicas that serve the same model;
            OpenAI's own if None.
        api_key: if None, OpenAI itself gets `OPENAI_API_KEY`, and any other server the placeholder `EMPTY`:
            a key never goes to a server that it is not meant for.
        price: USD per million tokens; None counts the tier as unpriced.
        context_window: tokens of prompt and answer together.
        max_concurrency: requests at a time, over all replicas.
        requests_per_minute: over all replicas; None for no limit.
        tokens_per_minute: of prompts and answers, over all replicas; None for no limit.
        timeout: seconds for one try.
        patience: seconds that a call waits, while no place is granted to anyone or no server takes it, where
            another tier may be asked instead. Standing in a queue that moves does not count.
        max_wait: seconds that any call waits so.
        max_retries: tries after the first, where the server was at fault, on another replica if there is one.
            A busy server (429, 503) is waited for instead, and one that hung is not asked again.
        metrics: whether the servers are vLLM and their `/metrics` may be read, once a second, to see how long
            their queues are.

    Raises:
        ConfigurationError: if a limit is below one, or if a URL is listed twice.
    """
    own = os.environ.get("OPENAI_API_KEY") if base_url is None else None
    key = api_key or SecretStr(own or "EMPTY")
    return served_tier(
        name,
        base_url,
        lambda url: _chat(model, url, key, timeout),
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


def _chat(model: str, url: str | None, key: SecretStr, timeout: float) -> BaseChatModel:
    # Half a second, which a ladder of embedded models need not pay.
    from stellwerk.tiers.openai_chat import ChatServed

    return ChatServed(
        model=model,
        base_url=url,
        api_key=key,
        temperature=0.0,
        seed=0,
        timeout=timeout,
        max_retries=0,  # a try in there would hold no place, and be counted by nobody
        use_responses_api=False,
        stream_usage=True,
        http_client=limited_client(),
        http_async_client=client_per_loop(),
    )
