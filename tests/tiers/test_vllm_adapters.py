import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from stellwerk.errors import ConfigurationError, InputError, TierError
from stellwerk.tiers.adapters import (
    Adapter,
    alist_adapters,
    aload_adapter,
    aunload_adapter,
    list_adapters,
    load_adapter,
    unload_adapter,
)
from tests.tiers.openai_server import Answer, serve_prepared

OLD = {"id": "invoices@v2", "root": "/adapters/2", "parent": "small"}
NEW = {"id": "invoices@v3", "root": "/adapters/3", "parent": "small"}
BASE = {"id": "small", "root": "/models/small", "parent": None}


def models(*adapters: dict[str, Any]) -> Answer:
    return {"object": "list", "data": [BASE, *adapters]}


def refusal(status: int, message: str) -> Answer:
    return status, {"error": {"message": message, "type": "Error", "code": status}}


@pytest.fixture(params=["sync", "async"])
def calls(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], ...]:
    """Functions that list, load and unload."""
    if request.param == "sync":
        return list_adapters, load_adapter, unload_adapter

    def run(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: asyncio.run(function(*args, **options))

    return run(alist_adapters), run(aload_adapter), run(aunload_adapter)


Calls = tuple[Callable[..., Any], ...]


def test_adapters_are_listed_without_the_base_model(calls: Calls) -> None:
    with serve_prepared(models(OLD)) as server:
        found = calls[0](server.url + "/", api_key=SecretStr("its-own"))
    assert found == [Adapter(name="invoices@v2", path="/adapters/2", base="small")]
    assert server.requests == [("/v1/models", {})]
    assert server.headers[0]["authorization"] == "Bearer its-own"


def test_an_adapter_is_loaded_under_its_version_and_never_in_place(calls: Calls) -> None:
    with serve_prepared(models(OLD), (200, "Success"), models(OLD, NEW)) as server:
        loaded = calls[1](server.url, "invoices@v3", "/adapters/3")
    assert loaded == Adapter(name="invoices@v3", path="/adapters/3", base="small")
    body = {"lora_name": "invoices@v3", "lora_path": "/adapters/3"}
    assert server.requests[1] == ("/v1/load_lora_adapter", body)


def test_an_adapter_that_is_loaded_is_not_loaded_again(calls: Calls) -> None:
    with serve_prepared(models(NEW)) as server:
        assert calls[1](server.url, "invoices@v3", "/adapters/3").path == "/adapters/3"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "name", ["invoices", "invoices@", "invoices@v", "invoices@3", "@v3", "a b@v3", "a@v3 "]
)
def test_a_name_without_a_version_is_refused_before_the_server_is_asked(calls: Calls, name: str) -> None:
    with serve_prepared(models()) as server:
        with pytest.raises(InputError, match=r"has no version: name it \S+@v1"):
            calls[1](server.url, name, "/adapters/3")
        assert server.requests == []


def test_new_weights_under_an_old_name_are_refused(calls: Calls) -> None:
    message = (
        "'invoices@v3' is loaded from /adapters/3, not from /adapters/4; give the new weights a new version"
    )
    with serve_prepared(models(NEW)) as server:
        with pytest.raises(InputError, match=message):
            calls[1](server.url, "invoices@v3", "/adapters/4")
        assert len(server.requests) == 1


def test_an_adapter_that_another_process_loads_meanwhile_is_taken(calls: Calls) -> None:
    again = refusal(400, "The lora adapter 'invoices@v3' has already been loaded.")
    with serve_prepared(models(), again, models(NEW)) as server:
        assert calls[1](server.url, "invoices@v3", "/adapters/3").base == "small"
    with (
        serve_prepared(models(), again, models(NEW)) as server,
        pytest.raises(InputError, match="new version"),
    ):
        calls[1](server.url, "invoices@v3", "/adapters/4")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((404, {"detail": "Not Found"}), ConfigurationError, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        (
            refusal(404, "Loading lora a@v1 failed: No adapter found for /adapters/3"),
            InputError,
            "finds no adapter at /adapters/3: the path is the server's",
        ),
        (
            refusal(500, "Worker failed with error 'LoRA rank 32 is greater than max_lora_rank 16.'"),
            ConfigurationError,
            "LoRA rank 32 .*--max-lora-rank",
        ),
        (refusal(400, "conflicts with a served base model"), InputError, "HTTP 400: conflicts"),
        (refusal(500, "out of memory"), TierError, "did not load .* HTTP 500: out of memory"),
        ((502, "<h1>Bad gateway</h1>"), TierError, "HTTP 502: <h1>"),
    ],
)
def test_a_refusal_says_what_to_do(calls: Calls, answer: Answer, kind: type[Exception], message: str) -> None:
    with serve_prepared(models(), answer, models()) as server, pytest.raises(kind, match=message):
        calls[1](server.url, "invoices@v3", "/adapters/3")


def test_an_adapter_is_unloaded(calls: Calls) -> None:
    with serve_prepared(models(NEW), (200, "Success")) as server:
        calls[2](server.url, "invoices@v3")
    assert server.requests[1] == ("/v1/unload_lora_adapter", {"lora_name": "invoices@v3"})


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((404, {"detail": "Not Found"}), ConfigurationError, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        (refusal(500, "broken"), TierError, "did not unload .*broken"),
    ],
)
def test_a_refusal_to_unload_says_what_to_do(
    calls: Calls, answer: Answer, kind: type[Exception], message: str
) -> None:
    with serve_prepared(models(NEW), answer) as server, pytest.raises(kind, match=message):
        calls[2](server.url, "invoices@v3")


def test_an_adapter_that_is_not_there_is_not_unloaded(calls: Calls) -> None:
    with (
        serve_prepared(models(OLD)) as server,
        pytest.raises(InputError, match=r"no adapter 'invoices@v3'; loaded: invoices@v2"),
    ):
        calls[2](server.url, "invoices@v3")


@pytest.mark.parametrize("answer", [(404, "no"), (200, "no"), {"data": None}, {"data": [1]}, (200, [])])
def test_what_is_no_vllm_server_is_told_of(calls: Calls, answer: Answer) -> None:
    with serve_prepared(answer) as server, pytest.raises(TierError, match=r"lists no models .* with /v1"):
        calls[0](server.url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "nonsense"])
def test_a_server_that_is_not_there_is_told_of(calls: Calls, url: str) -> None:
    with pytest.raises(TierError, match=f"{url} cannot be reached .*is the server up"):
        calls[0](url)
