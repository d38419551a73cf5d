"""What llama.cpp does with a real model, in this process and behind its own HTTP port."""

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from stellwerk.capabilities import Capabilities
from stellwerk.tiers.embedded import EMBEDDED
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.probe import probe
from stellwerk.tiers.tier import Request, Tier
from tests.tiers.test_llamacpp import smallest

pytestmark = pytest.mark.model

WINDOW = 1024
SCHEMA: dict[str, Any] = {
    "title": "greeting",
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["walrus"]}},
    "required": ["word"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def in_process() -> Capabilities:
    model = ChatLlamaCpp(path=smallest(), model_name="smollm2-135m", context_window=WINDOW, threads=2)
    tier = Tier(name="embedded", model=model, capabilities=EMBEDDED)
    return probe(tier, refresh=True, limit=300).capabilities


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """llama.cpp's own server."""
    xllamacpp: Any = pytest.importorskip("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(smallest())
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = WINDOW, 1, 0
    parameters.use_jinja, parameters.warmup, parameters.verbosity = True, False, -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(scope="module")
def over_http(url: str) -> Capabilities:
    return probe(remote(url), limit=300).capabilities


def remote(url: str) -> Tier:
    return openai_tier("remote", model="smollm2-135m", base_url=url, max_concurrency=1)


def test_what_is_taken_for_granted_of_the_embedded_models_is_so(in_process: Capabilities) -> None:
    left_out = {"context_window", "version", "details", "probe"}
    declared = {each.name for each in fields(Capabilities)} - left_out
    seen = {name: getattr(in_process, name) for name in declared}
    assert seen == {name: getattr(EMBEDDED, name) for name in declared}
    assert in_process.context_window == WINDOW
    assert in_process.version


def test_a_schema_that_llama_cpp_cannot_parse_is_ignored_without_a_word(in_process: Capabilities) -> None:
    assert in_process.json_schema is True
    assert in_process.unparsable_schema == "ignored"
    assert "the whole schema was ignored" in in_process.details["unparsable_schema"]


def test_over_http_the_pattern_alone_is_lost(over_http: Capabilities) -> None:
    assert over_http.json_schema is True
    assert over_http.unparsable_schema == "ignored"
    assert "the pattern was ignored" in over_http.details["unparsable_schema"]


def test_over_http_the_forms_of_other_servers_are_taken_and_ignored(over_http: Capabilities) -> None:
    assert over_http.server == "llama.cpp"
    assert (over_http.structured_outputs, over_http.guided_json) == (False, False)
    assert "accepted and ignored" in over_http.details["guided_json"]
    assert (over_http.tools_with_schema, over_http.metrics, over_http.adapters_loadable) == (False,) * 3


def test_over_http_the_rest_is_as_llama_cpp_says(over_http: Capabilities) -> None:
    assert over_http.context_window == WINDOW
    assert (over_http.logprobs, over_http.stream_usage, over_http.tokenizer) == (True, True, True)
    assert over_http.cached_tokens is True, over_http.details
    assert over_http.unanswered == ()


def test_over_http_a_schema_is_kept_by_the_form_that_was_seen_to_work(
    url: str, over_http: Capabilities
) -> None:
    tier = replace(remote(url), capabilities=over_http)
    request = Request(messages=[HumanMessage("Write the word hello.")], schema=SCHEMA, max_tokens=60)
    assert json.loads(tier.call(request).text) == {"word": "walrus"}
