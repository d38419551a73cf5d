"""A tier behind any OpenAI-compatible URL, or several: vLLM, a hosted API, a gateway."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.breaker import Breaker
from stellwerk.tiers.load import Load
from stellwerk.tiers.replica import Replica
from stellwerk.tiers.tier import Price, Tier

_CONNECT = 5.0  # seconds for a connection; a server that is up takes milliseconds


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
    urls = [base_url] if base_url is None or isinstance(base_url, str) else list(base_url)
    if not urls:
        raise ConfigurationError(f"tier {name!r}: base_url is an empty list; give it one URL at least")
    own = os.environ.get("OPENAI_API_KEY") if urls == [None] else None
    key = api_key or SecretStr(own or "EMPTY")
    replicas = replicas_of(urls, lambda url: _chat(model, url, key, timeout), metrics=metrics)
    return Tier(
        name=name,
        model=replicas[0].model,
        price=price,
        context_window=context_window,
        max_concurrency=max_concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        timeout=timeout,
        patience=patience,
        max_wait=max_wait,
        max_retries=max_retries,
        replicas=replicas,
    )


def replicas_of(
    urls: Sequence[str | None], chat: Callable[[str | None], BaseChatModel], *, metrics: bool = False
) -> tuple[Replica, ...]:
    """Replicas for URLs that the same chat model serves.

    Args:
        urls: of the servers; None for OpenAI's own.
        chat: makes the chat model for a URL; it has to take `timeout` as a keyword argument of a call, and
            must not try again by itself.
        metrics: whether vLLM's `/metrics` may be read.
    """
    return tuple(
        Replica(
            name=_place(url) if len(urls) > 1 and url else "",
            model=chat(url),
            options=_options,
            breaker=Breaker(),
            load=Load.of(url) if metrics and url else None,
        )
        for url in urls
    )


def _chat(model: str, url: str | None, key: SecretStr, timeout: float) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # half a second, which a ladder of embedded models need not pay

    return ChatOpenAI(
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


def _options(timeout: float) -> dict[str, Any]:
    from openai import Timeout

    return {"timeout": Timeout(timeout, connect=min(timeout, _CONNECT))}


def _place(url: str) -> str:
    """Host, port and path of a URL, without what may be secret in it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return parts.netloc.rpartition("@")[2] + path


def limited_client() -> Any:
    """An HTTP client whose read timeout holds for the answer as a whole.

    httpx starts it anew with each piece, so that a server that sends a byte now and then is never given up.
    """
    from openai import DefaultHttpxClient

    class Client(DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            limit = (request.extensions.get("timeout") or {}).get("read")
            response = super().send(request, stream=True, **options)
            if stream:
                return response
            end = None if limit is None else time.monotonic() + limit
            pieces = []
            try:
                for piece in response.iter_raw():
                    pieces.append(piece)
                    if end is not None and time.monotonic() > end:
                        raise TimeoutError(f"the answer was not complete after {limit:.1f} s")
            finally:
                response.close()
            return type(response)(
                response.status_code,
                headers=response.headers,
                content=b"".join(pieces),
                request=request,
                extensions=response.extensions,
                history=response.history,
            )

        def __del__(self) -> None:
            with suppress(Exception):
                self.close()

    return Client()


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
