"""LoRA adapters of a running vLLM server: which there are, loading and unloading.

A name ends in a version, and a version never changes: vLLM keeps the prefix cache of an adapter's name, so
that new weights under the old name would go on with what the old ones had computed.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from stellwerk.errors import ConfigurationError, InputError, TierError

_VERSIONED = re.compile(r"[^\s@/]+@v\d+")
_TIMEOUT = 120.0  # seconds for one request: a server may have to fetch the adapter
_MOST_SAID = 500  # characters of a server's answer that an error repeats

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """An adapter that a server has loaded.

    `path` is a folder on the server; `base` is the name under which the server serves the base model.
    """

    name: str
    path: str
    base: str


@dataclass(frozen=True, slots=True)
class _Call:
    """A request to the server; the answer comes back as status and JSON."""

    method: str
    path: str
    body: dict[str, str] | None = None


Calling = Generator[_Call, httpx.Response, Result]


def list_adapters(url: str, *, api_key: SecretStr | None = None) -> list[Adapter]:
    """The adapters that a server has loaded.

    Args:
        url: of the server, up to and with `/v1`.
        api_key: what the server was started with as `--api-key`.

    Raises:
        TierError: if the server cannot be reached or answers with something else.
    """
    return _drive(_list(url), url, api_key)


async def alist_adapters(url: str, *, api_key: SecretStr | None = None) -> list[Adapter]:
    """As `list_adapters`."""
    return await _adrive(_list(url), url, api_key)


def load_adapter(url: str, name: str, path: str, *, api_key: SecretStr | None = None) -> Adapter:
    """Load an adapter, unless it is loaded already.

    Args:
        url: of the server, up to and with `/v1`.
        name: with its version, such as `invoices@v3`.
        path: folder of the adapter, as PEFT saves it, on the server.
        api_key: what the server was started with as `--api-key`.

    Raises:
        InputError: if the name has no version, if it is that of an adapter with another path or of a base
            model, or if the server finds no adapter at the path.
        ConfigurationError: if the server does not load adapters, or none of this rank.
        TierError: if the server cannot be reached or fails.
    """
    return _drive(_load(url, name, path), url, api_key)


async def aload_adapter(url: str, name: str, path: str, *, api_key: SecretStr | None = None) -> Adapter:
    """As `load_adapter`."""
    return await _adrive(_load(url, name, path), url, api_key)


def unload_adapter(url: str, name: str, *, api_key: SecretStr | None = None) -> None:
    """Unload an adapter; calls that name it are refused from then on.

    Args:
        url: of the server, up to and with `/v1`.
        name: of an adapter that is loaded.
        api_key: what the server was started with as `--api-key`.

    Raises:
        InputError: if the server has no adapter of that name.
        ConfigurationError: if the server does not unload adapters.
        TierError: if the server cannot be reached or fails.
    """
    return _drive(_unload(url, name), url, api_key)


async def aunload_adapter(url: str, name: str, *, api_key: SecretStr | None = None) -> None:
    """As `unload_adapter`."""
    return await _adrive(_unload(url, name), url, api_key)


def _list(url: str) -> Calling[list[Adapter]]:
    answer = yield _Call("GET", "/models")
    models = _json(answer).get("data") if answer.is_success else None
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise TierError(f"{url} lists no models ({_said(answer)}); is it a vLLM server's address, with /v1?")
    return [
        Adapter(name=str(model.get("id")), path=str(model.get("root")), base=str(model["parent"]))
        for model in models
        if model.get("parent")
    ]


def _load(url: str, name: str, path: str) -> Calling[Adapter]:
    if not _VERSIONED.fullmatch(name):
        raise InputError(
            f"adapter {name!r} has no version: name it {_bare(name)}@v1, and raise it with each new weights"
        )
    if (loaded := _the_same(name, path, (yield from _list(url)))) is not None:
        return loaded
    answer = yield _Call("POST", "/load_lora_adapter", {"lora_name": name, "lora_path": path})
    said = _said(answer)
    # Also after a refusal: another process may have loaded it between the two calls.
    if (loaded := _the_same(name, path, (yield from _list(url)))) is not None:
        return loaded
    if "No adapter found" in said:
        raise InputError(
            f"{url} finds no adapter at {path}: the path is the server's; put there what PEFT saves, "
            "adapter_config.json and adapter_model.safetensors"
        )
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise _not_enabled(url)
    if "max_lora_rank" in said:
        raise ConfigurationError(
            f"the rank of adapter {name!r} is too high for {url} ({said}): start the server with a higher "
            "--max-lora-rank, or train an adapter of a lower one"
        )
    if answer.status_code == httpx.codes.BAD_REQUEST:
        raise InputError(f"{url} refused adapter {name!r} at {path}: {said}")
    raise TierError(f"{url} did not load adapter {name!r} from {path}: {said}")


def _unload(url: str, name: str) -> Calling[None]:
    loaded = yield from _list(url)
    if _named(name, loaded) is None:
        names = ", ".join(adapter.name for adapter in loaded) or "none"
        raise InputError(f"{url} has no adapter {name!r}; loaded: {names}")
    answer = yield _Call("POST", "/unload_lora_adapter", {"lora_name": name})
    if answer.is_success:
        return
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise _not_enabled(url)
    raise TierError(f"{url} did not unload adapter {name!r}: {_said(answer)}")


def _drive(calling: Calling[Result], url: str, api_key: SecretStr | None) -> Result:
    with httpx.Client(headers=_headers(api_key), timeout=_TIMEOUT) as client:
        try:
            call = next(calling)
            while True:
                try:
                    answer = client.request(call.method, _address(url, call), json=call.body)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise _unreachable(url, error) from error
                call = calling.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result


async def _adrive(calling: Calling[Result], url: str, api_key: SecretStr | None) -> Result:
    async with httpx.AsyncClient(headers=_headers(api_key), timeout=_TIMEOUT) as client:
        try:
            call = next(calling)
            while True:
                try:
                    answer = await client.request(call.method, _address(url, call), json=call.body)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise _unreachable(url, error) from error
                call = calling.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def _headers(api_key: SecretStr | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}


def _address(url: str, call: _Call) -> str:
    return url.rstrip("/") + call.path


def _unreachable(url: str, error: Exception) -> TierError:
    return TierError(f"{url} cannot be reached ({type(error).__name__}: {error}); is the server up?")


def _not_enabled(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url} does not load adapters at run time: start the server with --enable-lora and with "
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment"
    )


def _named(name: str, adapters: list[Adapter]) -> Adapter | None:
    return next((adapter for adapter in adapters if adapter.name == name), None)


def _the_same(name: str, path: str, adapters: list[Adapter]) -> Adapter | None:
    found = _named(name, adapters)
    if found is not None and found.path != path:
        raise InputError(
            f"adapter {name!r} is loaded from {found.path}, not from {path}; give the new weights a new "
            "version, as the server would mix them with what it has cached of the old ones"
        )
    return found


def _bare(name: str) -> str:
    return re.sub(r"[\s@/]+", "-", name.partition("@")[0].strip()) or "task"


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _said(answer: httpx.Response) -> str:
    """What a server said, for an error: its message, or the beginning of whatever it sent."""
    error = _json(answer).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return f"HTTP {answer.status_code}: {message or answer.text}"[:_MOST_SAID]
