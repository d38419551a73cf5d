"""A tier over one or several servers: replicas with a breaker each, behind one gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.breaker import Breaker
from stellwerk.tiers.load import Load
from stellwerk.tiers.replica import Replica
from stellwerk.tiers.tier import Tier

_CONNECT = 5.0  # seconds for a connection; a server that is up takes milliseconds


def served_tier(
    name: str,
    base_url: str | Sequence[str] | None,
    chat: Callable[[str | None], BaseChatModel],
    *,
    metrics: bool = False,
    **limits: Any,
) -> Tier:
    """A tier whose model is served at one URL or several.

    Args:
        name: how decisions, traces and the ledger call it.
        base_url: one URL, several for replicas that serve the same model, or None for the client's own.
        chat: the chat model for a URL.
        metrics: whether the servers' `/metrics` may be read.
        **limits: further fields of `Tier`.

    Raises:
        ConfigurationError: if there is no URL, if one is listed twice, or if a limit is below one.
    """
    urls = [base_url] if base_url is None or isinstance(base_url, str) else list(base_url)
    if not urls:
        raise ConfigurationError(f"tier {name!r}: base_url is an empty list; give it one URL at least")
    for url in urls:
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"tier {name!r}: base_url {url.rpartition('@')[2]!r} is no URL; "
                "it looks like http://127.0.0.1:8000/v1"
            )
    replicas = tuple(
        Replica(
            name=_place(url) if len(urls) > 1 and url else "",
            model=chat(url),
            options=_options,
            breaker=Breaker(),
            load=Load.of(url) if metrics and url else None,
        )
        for url in urls
    )
    return Tier(name=name, model=replicas[0].model, replicas=replicas, **limits)


def _options(timeout: float) -> dict[str, Any]:
    from openai import Timeout

    return {"timeout": Timeout(timeout, connect=min(timeout, _CONNECT))}


def _place(url: str) -> str:
    """Host, port and path of a URL, without what may be secret in it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return parts.netloc.rpartition("@")[2] + path
