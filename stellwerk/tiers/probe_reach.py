"""Where a probe's requests go: over HTTP, or to a model in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from pydantic import SecretStr

from stellwerk.errors import MissingExtraError, ModelFileError
from stellwerk.tiers.probe_exchange import CHAT, Answer, Ask

OPENAI = "https://api.openai.com/v1"
AGENT = "stellwerk-probe"
_PATIENCE = 20.0  # seconds for one answer of a model
_PATIENCE_FOR_FACTS = 10.0  # seconds for what a server knows without a model
_CONNECT = 5.0  # seconds
_LARGEST = 2_000_000  # bytes of an answer; vLLM's metrics are 60 KB


class Reach(Protocol):
    """Answers requests, and never raises for what goes wrong on the way."""

    def ask(self, ask: Ask, deadline: float, /) -> Answer:
        """The answer, which may be that there is none by `deadline`, in `time.monotonic()`."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at a server.

    Args:
        url: of the API, which mostly ends in `/v1`.
        model: as the server calls it.
        key: sent with each request.
        headers: sent with each request.
    """

    url: str
    model: str
    key: SecretStr | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The URL without user, password, query and fragment, as it may be stored and shown."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))

    @classmethod
    def of(cls, model: BaseChatModel) -> Self | None:
        """Where a `ChatOpenAI`, or a model made like it, sends its requests; None for any other."""
        name, key = getattr(model, "model_name", None), getattr(model, "openai_api_key", None)
        if not isinstance(name, str) or not hasattr(model, "openai_api_base"):
            return None
        headers = getattr(model, "default_headers", None) or {}
        return cls(
            url=str(getattr(model, "openai_api_base", None) or OPENAI),
            model=name,
            key=key if isinstance(key, SecretStr) else None,
            headers={str(name): str(value) for name, value in headers.items()},
        )


class _Http:
    """What the two below share. Redirects are not followed: a key goes nowhere but where it belongs."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        headers = {"User-Agent": AGENT, **endpoint.headers}
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key.get_secret_value()}"
        # A connection for each question: llama.cpp closes one that lies idle for seconds, as it does while a
        # slow model answers elsewhere, and a request that goes out just then is lost.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._options: dict[str, Any] = {"headers": headers, "follow_redirects": False, "limits": limits}

    def _request(self, ask: Ask, deadline: float) -> dict[str, Any]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise httpx.PoolTimeout("the time for the probe is over")
        parts = urlsplit(self._endpoint.url)
        path = parts.path.rstrip("/")
        if ask.root:
            path = path.removesuffix("/v1")
        patience = min(_PATIENCE if ask.path == CHAT else _PATIENCE_FOR_FACTS, left)
        return {
            "method": "GET" if ask.body is None else "POST",
            "url": urlunsplit(parts._replace(path=path + ask.path)),
            "json": ask.body,
            "timeout": httpx.Timeout(patience, connect=min(_CONNECT, patience)),
        }

    def _answer(self, response: httpx.Response, whole: bytes) -> Answer:
        text = self._without_secrets(whole.decode("utf-8", "replace"))
        return Answer(response.status_code, text, dict(response.headers))

    def _silence(self, error: Exception) -> Answer:
        return Answer(0, self._without_secrets(f"{type(error).__name__}: {error}".removesuffix(": ")))

    def _without_secrets(self, text: str) -> str:
        secrets = [self._endpoint.key.get_secret_value()] if self._endpoint.key else []
        secrets += [value for value in self._endpoint.headers.values() if len(value) >= 8]
        if password := urlsplit(self._endpoint.url).password:
            secrets.append(password)
        for secret in secrets:
            if len(secret) >= 8:  # a shorter one is a placeholder such as EMPTY
                text = text.replace(secret, "***")
        return text


class HttpReach(_Http):
    """A server, for sync code."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client = httpx.Client(**self._options)

    def ask(self, ask: Ask, deadline: float, /) -> Answer:
        """See `Reach`."""
        try:
            with self._client.stream(**self._request(ask, deadline)) as response:
                whole = bytearray()
                for piece in response.iter_bytes():
                    _take(whole, piece, deadline)
                return self._answer(response, bytes(whole))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return self._silence(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class AsyncHttpReach(_Http):
    """The same for async code, on connections of the running event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client = httpx.AsyncClient(**self._options)

    async def aask(self, ask: Ask, deadline: float, /) -> Answer:
        """As `ask`."""
        try:
            async with self._client.stream(**self._request(ask, deadline)) as response:
                whole = bytearray()
                async for piece in response.aiter_bytes():
                    _take(whole, piece, deadline)
                return self._answer(response, bytes(whole))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return self._silence(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


def _take(whole: bytearray, piece: bytes, deadline: float) -> None:
    whole += piece
    if len(whole) > _LARGEST:
        raise httpx.DecodingError(f"the answer has more than {_LARGEST:,} bytes")
    if time.monotonic() > deadline:  # a server that drips would never run into the timeout of a read
        raise httpx.ReadTimeout("the time for the probe is over")


class ModelReach:
    """A model in this process, which is asked through LangChain as a tier asks it."""

    def __init__(self, model: BaseChatModel, *, version: str, context_window: int) -> None:
        self._model = model
        self._properties = {
            "build_info": version,
            "default_generation_settings": {"n_ctx": context_window},
        }

    def ask(self, ask: Ask, deadline: float, /) -> Answer:
        """See `Reach`. What the model refuses has the status 400, as at a server."""
        if ask.path == "/props":
            return Answer(200, json.dumps(self._properties))
        if ask.path != CHAT or ask.body is None:
            return Answer(404, "a model in this process has no paths", {"Server": "llama.cpp"})
        if time.monotonic() > deadline:
            return Answer(0, "the time for the probe is over")
        options = {name: value for name, value in ask.body.items() if name not in ("model", "messages")}
        try:
            if options.pop("stream", False):
                options.pop("stream_options", None)
                chunks = list(self._model.stream(ask.body["messages"], **options))
                return Answer(200, "".join(f"data: {json.dumps(_completion(chunk))}\n" for chunk in chunks))
            return Answer(200, json.dumps(_completion(self._model.invoke(ask.body["messages"], **options))))
        except (ModelFileError, MissingExtraError) as error:
            return Answer(0, str(error))
        except Exception as error:  # of whatever kind, as models have errors of their own
            return Answer(400, str(error))


def _completion(message: Any) -> dict[str, Any]:
    assert isinstance(message, AIMessage)
    metadata = message.response_metadata
    calls = [
        {"function": {"name": call["name"], "arguments": json.dumps(call["args"])}}
        for call in message.tool_calls
    ] + [
        {"function": {"name": call["name"] or "", "arguments": call["args"] or ""}}
        for call in message.invalid_tool_calls
    ]
    counts: Any = message.usage_metadata
    usage = counts and {
        "prompt_tokens": counts["input_tokens"],
        "completion_tokens": counts["output_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": (counts.get("input_token_details") or {}).get("cache_read")
        },
    }
    choice = {
        "message": {"role": "assistant", "content": message.text, "tool_calls": calls},
        "finish_reason": metadata.get("finish_reason"),
        "logprobs": metadata.get("logprobs"),
    }
    return {"choices": [choice], "usage": usage}
