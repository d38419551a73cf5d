"""A tier behind any OpenAI-compatible URL: vLLM, a hosted API, a gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

from pydantic import SecretStr

from stellwerk.tiers.tier import Price, Tier


def openai_tier(
    name: str,
    *,
    model: str,
    base_url: str | None = None,
    api_key: SecretStr | None = None,
    price: Price | None = None,
    context_window: int = 32_768,
    max_concurrency: int | None = 16,
    timeout: float = 120.0,
    max_retries: int = 2,
) -> Tier:
    """A tier served over HTTP.

    Args:
        name: how decisions, traces and the ledger call it.
        model: the model's name at the server.
        base_url: for example `http://127.0.0.1:8000/v1`; OpenAI's own if None.
        api_key: if None, OpenAI itself gets `OPENAI_API_KEY`, and any other server the placeholder `EMPTY`:
            a key never goes to a server that it is not meant for.
        price: USD per million tokens; None counts the tier as unpriced.
        context_window: tokens of prompt and answer together.
        max_concurrency: requests at a time.
        timeout: seconds for one request.
        max_retries: tries after a connection error, a 429 or a 5xx, with back-off.
    """
    from langchain_openai import ChatOpenAI  # half a second, which a ladder of embedded models need not pay

    own = os.environ.get("OPENAI_API_KEY") if base_url is None else None
    key = api_key or SecretStr(own or "EMPTY")
    chat = ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key=key,
        temperature=0.0,
        seed=0,
        timeout=timeout,
        max_retries=max_retries,
        use_responses_api=False,
        stream_usage=True,
        http_async_client=client_per_loop(),
    )
    return Tier(
        name=name,
        model=chat,
        price=price,
        context_window=context_window,
        max_concurrency=max_concurrency,
    )


def vllm_tier(
    name: str,
    *,
    model: str,
    base_url: str,
    api_key: SecretStr | None = None,
    adapter: str | None = None,
    priority: int | None = None,
    cache_salt: str | None = None,
    price: Price | None = None,
    context_window: int = 32_768,
    max_concurrency: int | None = 16,
    timeout: float = 120.0,
    max_retries: int = 2,
) -> Tier:
    """A tier on a vLLM server, through `ChatVLLM`.

    Args:
        name: how decisions, traces and the ledger call it.
        model: the base model's name at the server.
        base_url: of the server, up to and with `/v1`.
        api_key: what the server was started with as `--api-key`; the placeholder `EMPTY` if None.
        adapter: name of a LoRA adapter at the server, which then answers in place of the base model.
        priority: lower is served earlier; the server needs `--scheduling-policy priority`.
        cache_salt: prompts share the server's prefix cache only with those of the same salt.
        price: USD per million tokens; None counts the tier as unpriced.
        context_window: tokens of prompt and answer together.
        max_concurrency: requests at a time.
        timeout: seconds for one request.
        max_retries: tries after a connection error, a 429 or a 5xx, with back-off.
    """
    from stellwerk.tiers.vllm import ChatVLLM  # as above

    chat = ChatVLLM(
        model=model,
        base_url=base_url,
        api_key=api_key,
        adapter=adapter,
        priority=priority,
        cache_salt=None if cache_salt is None else SecretStr(cache_salt),
        timeout=timeout,
        max_retries=max_retries,
    )
    return Tier(
        name=name, model=chat, price=price, context_window=context_window, max_concurrency=max_concurrency
    )


def client_per_loop() -> Any:
    """An HTTP client with connections of its own for each event loop.

    A connection belongs to the loop that opened it. With one pool for all of them, the OpenAI client's
    habit, the second `asyncio.run` of a program fails with 'Event loop is closed'.
    """
    from openai import DefaultAsyncHttpxClient

    clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None]]] = {}

    async def close_with(loop: asyncio.AbstractEventLoop, client: Any) -> AsyncGenerator[None]:
        try:
            yield  # until the loop, at its end, closes its generators
        finally:
            clients.pop(loop, None)
            await client.aclose()

    class Client(DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            loop = asyncio.get_running_loop()
            if loop not in clients:
                for old in [old for old in list(clients) if old.is_closed()]:
                    clients.pop(old, None)
                client = DefaultAsyncHttpxClient()
                closing = close_with(loop, client)
                clients[loop] = client, closing
                await anext(closing)
            return await clients[loop][0].send(request, **options)

    return Client()
