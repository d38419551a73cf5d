"""What a probe finds of servers that do, ignore or refuse things, or are out of order."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from pydantic import SecretStr

from stellwerk.capabilities import SWITCHES, Capabilities, FoundCapabilities
from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore, SQLAlchemyCapabilityStore
from stellwerk.persistence.schema.capabilities import capabilities as table
from stellwerk.tiers import probe_reach
from stellwerk.tiers.embedded import embedded_ladder
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.probe import AGAIN, GOOD_FOR, aprobe, probe
from stellwerk.tiers.tier import Tier
from tests.fakes import Scripted, always
from tests.tiers.servers import Body, Probed, completion, error, kind, serve_probed
from tests.tiers.test_tier import closed_port

A_LITTLE = timedelta(seconds=1)
KEY = "sk-a-key-that-nobody-may-see"

Find = Callable[..., FoundCapabilities]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "empty.sqlite"
    with SQLAlchemyCapabilityStore.from_url(path) as store:
        store.database.setup()
    return path


@pytest.fixture
def path(tmp_path: Path, empty: Path) -> Path:
    return Path(copyfile(empty, tmp_path / "known.sqlite"))


@pytest.fixture
def store(path: Path) -> Iterator[SQLAlchemyCapabilityStore]:
    with SQLAlchemyCapabilityStore.from_url(path) as store:
        yield store


@pytest.fixture(params=["sync", "async"])
def find(request: pytest.FixtureRequest, path: Path) -> Find:
    """`probe` or `aprobe`, with a store on the same file."""
    if request.param == "sync":

        def sync(tier: Tier, **options: Any) -> FoundCapabilities:
            with SQLAlchemyCapabilityStore.from_url(path) as store:
                return probe(tier, store, **options)

        return sync

    async def asynchronous(tier: Tier, **options: Any) -> FoundCapabilities:
        async with AsyncSQLAlchemyCapabilityStore.from_url(path) as store:
            return await aprobe(tier, store, **options)

    return lambda tier, **options: asyncio.run(asynchronous(tier, **options))


def tier_on(server: Probed, **fields: Any) -> Tier:
    return openai_tier("small", model=server.model, base_url=server.url, **fields)


def capabilities(server: Probed, **options: Any) -> Capabilities:
    return probe(tier_on(server), **options).capabilities


def switches(able: Capabilities) -> dict[str, bool | None]:
    return {name: getattr(able, name) for name in SWITCHES}


def test_a_server_that_does_everything(find: Find) -> None:
    with serve_probed() as server:
        found = find(tier_on(server))
    able = found.capabilities
    assert switches(able) == dict.fromkeys(SWITCHES, True)
    assert able.unparsable_schema == "enforced"
    assert able.context_window == 4096
    assert (able.server, able.version) == ("vllm", "0.32.0")
    assert (found.url, found.model) == (server.url, "m")
    assert able.unanswered == ()
    assert able.details.keys() >= {*SWITCHES, "unparsable_schema", "context_window"}
    assert all(0 < len(detail) <= 200 and detail.isprintable() for detail in able.details.values())


def test_the_questions_are_few_and_short(find: Find) -> None:
    with serve_probed() as server:
        find(tier_on(server))
    assert len(server.paths) <= 20
    for body in server.chats:
        assert body["max_tokens"] <= 64
        assert body["temperature"] == 0
        assert len(json.dumps(body["messages"])) < 2_000


def test_a_server_that_takes_everything_and_ignores_it(find: Find) -> None:
    ignored = (
        "json_schema",
        "structured_outputs",
        "guided_json",
        "patterns",
        "named",
        "required",
        "auto",
        "both",
        "logprobs",
        "usage",
    )
    with serve_probed(**dict.fromkeys(ignored, "ignore"), cached=False) as server:
        able = find(tier_on(server)).capabilities
    for name in (
        "json_schema",
        "structured_outputs",
        "guided_json",
        "named_tool",
        "required_tool",
        "logprobs",
    ):
        assert getattr(able, name) is False
        assert "accepted and ignored" in able.details[name]
    assert able.unparsable_schema == "ignored"
    assert "the whole schema was ignored" in able.details["unparsable_schema"]
    assert able.auto_tool is False
    assert "left in the text" in able.details["auto_tool"]
    assert (able.tools_with_schema, able.stream_usage, able.cached_tokens) == (False, False, False)
    assert able.strict_tool is None  # nothing was called


def test_a_server_that_refuses_everything(find: Find) -> None:
    refused = ("json_schema", "structured_outputs", "guided_json", "patterns", "named", "required", "auto")
    with serve_probed(
        **dict.fromkeys(refused, "refuse"), both="refuse", logprobs="refuse", usage="refuse"
    ) as server:
        able = find(tier_on(server)).capabilities
    assert able.chat
    assert able.unparsable_schema == "refused"
    for name in (
        "json_schema",
        "structured_outputs",
        "guided_json",
        "named_tool",
        "required_tool",
        "auto_tool",
        "tools_with_schema",
        "logprobs",
        "stream_usage",
    ):
        assert getattr(able, name) is False, name
        assert "refused (400): " in able.details[name]
        assert "is not supported by this model" in able.details[name]


def test_a_pattern_that_is_left_out_without_a_word_is_a_schema_ignored() -> None:
    def lax(body: Body) -> tuple[int, str] | None:
        if kind(body) != "patterns":
            return None
        code = body["response_format"]["json_schema"]["schema"]["properties"]["code"]["enum"][0]
        return 200, completion(server, json.dumps({"code": code, "mark": "anything"}))

    with serve_probed(special=lax) as server:
        able = capabilities(server)
    assert able.json_schema is True
    assert able.unparsable_schema == "ignored"
    assert able.details["unparsable_schema"].startswith("the pattern was ignored without a word")


def test_an_answer_that_only_looks_like_obedience_is_none() -> None:
    """A capable model may write JSON, or the right key, of itself."""

    def json_anyway(body: Body) -> tuple[int, str] | None:
        return (200, completion(server, '{"code": "hello"}')) if kind(body) == "json_schema" else None

    with serve_probed(special=json_anyway) as server:
        assert capabilities(server).json_schema is False


@pytest.mark.parametrize(
    ("text", "seen"),
    [("", None), ("  \n\n ", None), ('{ "code"', None), ('{"code": "{word}', True), ("Let me think", False)],
)
def test_an_answer_that_is_cut_off_counts_as_far_as_it_goes(text: str, seen: bool | None) -> None:
    def cut(body: Body) -> tuple[int, str] | None:
        if kind(body) != "json_schema":
            return None
        word = body["response_format"]["json_schema"]["schema"]["properties"]["code"]["enum"][0]
        answer = json.loads(completion(server, text.replace("{word}", word[:6])))
        answer["choices"][0]["finish_reason"] = "length"
        return 200, json.dumps(answer)

    with serve_probed(special=cut) as server:
        assert capabilities(server).json_schema is seen


def test_arguments_that_strict_does_not_hold() -> None:
    with serve_probed(strict="ignore") as server:
        able = capabilities(server)
    assert (able.named_tool, able.strict_tool) == (True, False)
    assert "as I like" in able.details["strict_tool"]


def test_a_server_that_refuses_strict_may_know_named_tools() -> None:
    with serve_probed(strict="refuse") as server:
        able = capabilities(server)
    assert (able.named_tool, able.strict_tool) == (True, False)
    assert "function.strict" in able.details["strict_tool"]


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_busy_or_broken_server_refutes_nothing(find: Find, status: int) -> None:
    def busy(body: Body) -> tuple[int, str] | None:
        return (status, error("response_format: try later")) if kind(body) == "json_schema" else None

    with serve_probed(special=busy) as server:
        able = find(tier_on(server)).capabilities
    assert able.json_schema is None
    assert f"({status})" in able.details["json_schema"]
    assert able.unanswered == ("json_schema",)
    assert able.structured_outputs is True


def test_an_error_that_names_another_cause_refutes_nothing() -> None:
    def broke(body: Body) -> tuple[int, str] | None:
        return (400, error("insufficient funds")) if kind(body) == "json_schema" else None

    with serve_probed(special=broke) as server:
        able = capabilities(server)
    assert able.json_schema is None
    assert able.details["json_schema"] == "no answer (400): insufficient funds"


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "<h1>Welcome</h1>",
        "[" * 100_000,
        '{"choices": null}',
        '{"choices": [{}]}',
        '{"choices": [{"message": {"tool_calls": [7]}}]}',
    ],
)
def test_rubbish_from_a_server_refutes_nothing(garbage: str) -> None:
    def rubbish(body: Body) -> tuple[int, str] | None:
        return None if kind(body) == "plain" and "Shelf" not in json.dumps(body) else (200, garbage)

    with serve_probed(special=rubbish) as server:
        able = capabilities(server)
    assert able.chat
    asked = {"json_schema", "named_tool", "required_tool", "auto_tool", "logprobs", "stream_usage"}
    assert {getattr(able, name) for name in asked} == {None}
    assert asked | {"cached_tokens", "unparsable_schema"} <= {*able.unanswered}


def test_rubbish_on_every_path_is_survived(find: Find) -> None:
    gets = dict.fromkeys(("/v1/models", "/version", "/props", "/metrics"), (200, '{"data": [7, {"id": []}]'))
    posts = dict.fromkeys(("/tokenize", "/v1/load_lora_adapter"), (200, "\0"))
    with serve_probed(gets=gets, posts=posts) as server:
        able = find(tier_on(server)).capabilities
    assert (able.server, able.version, able.tokenizer, able.adapters_loadable) == ("", "", None, None)
    assert able.json_schema is True
    assert able.context_window == 4096  # which an error told


def test_a_server_that_hangs_is_given_up_and_the_rest_is_known(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(probe_reach, "_PATIENCE", 2.0)

    def hang(body: Body) -> tuple[int, str] | None:
        if kind(body) == "auto":
            released.wait(30)
        return None

    with serve_probed(special=hang) as server:
        try:
            able = find(tier_on(server)).capabilities
        finally:
            released.set()
    assert able.auto_tool is None
    assert "auto_tool" in able.unanswered
    assert (able.json_schema, able.named_tool) == (True, True)


def test_after_the_limit_nothing_is_asked(find: Find) -> None:
    with serve_probed() as server:
        able = find(tier_on(server), limit=0.0).capabilities
    assert server.paths == []
    assert able.chat is None
    assert "the time for the probe is over" in able.details["chat"]


def test_an_endless_answer_is_given_up() -> None:
    with serve_probed(gets={"/metrics": (200, "x" * 3_000_000)}) as server:
        able = capabilities(server)
    assert able.metrics is None
    assert "more than 2,000,000 bytes" in able.details["metrics"]
    assert able.json_schema is True


class TestContextWindow:
    def test_from_a_short_request_for_too_many_tokens(self, find: Find) -> None:
        card = {"id": "m", "owned_by": "somebody"}
        with serve_probed(gets={"/v1/models": (200, json.dumps({"data": [card]}))}) as server:
            able = find(tier_on(server)).capabilities
        assert able.context_window == 4096
        assert "max_model_len=4096" in able.details["context_window"]
        assert all(len(json.dumps(body["messages"])) < 2_000 for body in server.chats)

    @pytest.mark.parametrize(
        "words",
        [
            "This model's maximum context length is 8192 tokens. However, you requested 10000012 tokens",
            "the request exceeds the available context size (8,192 tokens), try increasing it",
        ],
    )
    def test_as_others_word_it(self, words: str) -> None:
        def refuse(body: Body) -> tuple[int, str] | None:
            return (400, error(words)) if body["max_tokens"] > 4096 else None

        with serve_probed(gets={"/v1/models": (404, "")}, special=refuse) as server:
            assert capabilities(server).context_window == 8192

    def test_from_the_properties_of_llama_cpp(self) -> None:
        card = {"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 8192}}
        properties = {"build_info": "b7000-abc", "default_generation_settings": {"n_ctx": 2048}}
        gets = {
            "/v1/models": (200, json.dumps({"data": [card]})),
            "/version": (404, "{}"),
            "/props": (200, json.dumps(properties)),
        }
        with serve_probed(gets=gets) as server:
            able = capabilities(server)
        assert (able.server, able.version, able.context_window) == ("llama.cpp", "b7000-abc", 2048)

    def test_a_server_that_takes_any_number_is_not_known(self) -> None:
        def take(body: Body) -> tuple[int, str] | None:
            return (200, completion(server, "h")) if body["max_tokens"] > 4096 else None

        with serve_probed(gets={"/v1/models": (404, "")}, special=take) as server:
            assert capabilities(server).context_window is None


def test_a_hosted_model_that_refuses_the_older_names_is_asked_with_the_newer_ones(find: Find) -> None:
    with serve_probed(old_names=False) as server:
        able = find(tier_on(server)).capabilities
    assert able.chat
    assert able.json_schema is True
    assert "max_completion_tokens" in server.chats[-1]


class TestUnreachable:
    def test_nothing_is_known_of_a_server_that_is_not_there(
        self, find: Find, store: SQLAlchemyCapabilityStore
    ) -> None:
        url = f"http://127.0.0.1:{closed_port()}/v1"
        found = find(openai_tier("small", model="m", base_url=url))
        assert switches(found.capabilities) == dict.fromkeys(SWITCHES)
        assert "Connect" in found.capabilities.details["chat"]
        assert store.find(url, "m") is None

    @pytest.mark.parametrize("status", [401, 404, 503])
    def test_where_a_plain_request_is_refused_nothing_is_concluded_or_kept(
        self, find: Find, store: SQLAlchemyCapabilityStore, status: int
    ) -> None:
        with serve_probed(special=lambda body: (status, error("max_tokens: no, and no tools"))) as server:
            able = find(tier_on(server)).capabilities
        assert able.chat is None
        assert able.json_schema is None
        assert able.metrics is True
        assert len(server.chats) == 1
        assert store.find(server.url, "m") is None

    def test_a_model_that_nobody_knows_how_to_ask(self) -> None:
        found = probe(Tier(name="own", model=Scripted(reply=always("hello"))))
        assert found.capabilities.details["chat"] == "a model of the class Scripted is not probed"
        assert found.capabilities.chat is None

    def test_a_model_in_this_process_is_known_without_loading_it(self) -> None:
        (tier,) = embedded_ladder(["smollm2-135m"])
        assert probe(tier).capabilities == tier.capabilities


class TestStored:
    def test_what_is_known_is_not_asked_again(self, find: Find) -> None:
        with serve_probed() as server:
            first = find(tier_on(server))
            server.forget()
            second = find(tier_on(server))
        assert server.chats == []
        assert second == first

    def test_another_version_of_the_server_is_asked_anew(
        self, find: Find, store: SQLAlchemyCapabilityStore
    ) -> None:
        with serve_probed(guided_json="do") as server:
            find(tier_on(server))
            server.is_version("0.33.0")
            server.guided_json = "ignore"
            assert find(tier_on(server)).capabilities.guided_json is False
            before = store.find(server.url, "m", "0.32.0")
        assert before is not None
        assert before.capabilities.guided_json is True

    def test_another_model_of_the_server_is_asked_anew(self, find: Find) -> None:
        with serve_probed() as server:
            find(tier_on(server))
            server.model, server.json_schema = "n", "ignore"
            assert find(tier_on(server)).capabilities.json_schema is False

    def test_a_server_is_asked_again_on_demand(self, find: Find) -> None:
        with serve_probed() as server:
            find(tier_on(server))
            server.json_schema = "ignore"
            assert find(tier_on(server)).capabilities.json_schema is True
            assert find(tier_on(server), refresh=True).capabilities.json_schema is False
            assert find(tier_on(server)).capabilities.json_schema is False

    def test_what_is_old_is_found_anew(self, find: Find, store: SQLAlchemyCapabilityStore) -> None:
        with serve_probed() as server:
            age(store, find(tier_on(server)), GOOD_FOR)
            server.json_schema = "ignore"
            assert find(tier_on(server)).capabilities.json_schema is False

    def test_what_an_older_probe_found_is_found_anew(
        self, find: Find, store: SQLAlchemyCapabilityStore
    ) -> None:
        with serve_probed() as server:
            found = find(tier_on(server))
            store.save(replace(found, capabilities=replace(found.capabilities, probe=0)))
            server.forget()
            find(tier_on(server))
        assert server.chats

    def test_only_what_had_no_answer_is_asked_again_later(
        self, find: Find, store: SQLAlchemyCapabilityStore
    ) -> None:
        def busy(body: Body) -> tuple[int, str] | None:
            return (503, error("busy")) if kind(body) in ("json_schema", "named") else None

        with serve_probed(special=busy) as server:
            found = find(tier_on(server))
            assert {*found.capabilities.unanswered} == {"json_schema", "named_tool", "strict_tool"}
            server.special = lambda body: None
            server.forget()
            assert find(tier_on(server)) == found  # it may still be busy
            assert server.chats == []
            age(store, found, AGAIN)  # and what is added makes the rest no younger
            able = find(tier_on(server)).capabilities
            assert {kind(body) for body in server.chats} == {"plain", "json_schema", "named"}
        assert switches(able) == dict.fromkeys(SWITCHES, True)
        assert able.unanswered == ()
        assert store.find(server.url, "m") == replace(
            found, capabilities=able, probed_at=found.probed_at - AGAIN - A_LITTLE
        )

    def test_a_server_that_went_away_leaves_what_is_known_as_it_was(
        self, find: Find, store: SQLAlchemyCapabilityStore
    ) -> None:
        with serve_probed() as server:
            found = find(tier_on(server))
        assert find(tier_on(server)).capabilities.chat is None
        assert store.find(server.url, "m") == found


def age(store: SQLAlchemyCapabilityStore, found: FoundCapabilities, by: timedelta) -> None:
    """As if it had been found longer ago."""
    moment = found.probed_at - by - A_LITTLE
    store.database.write(lambda connection: connection.execute(table.update().values(probed_at=moment)))


class TestSecrets:
    def test_a_key_that_the_server_repeats_is_neither_shown_nor_stored(self, find: Find, path: Path) -> None:
        def repeat(body: Body) -> tuple[int, str] | None:
            return None if kind(body) == "plain" else (400, error(f"tools: no such thing for {KEY}"))

        with serve_probed(special=repeat) as server:
            found = find(tier_on(server, api_key=SecretStr(KEY)))
        assert server.keys == {f"Bearer {KEY}"}
        assert "tools: no such thing for ***" in found.capabilities.details["auto_tool"]
        assert KEY not in repr(found)
        assert KEY.encode() not in path.read_bytes()

    def test_user_and_password_of_a_url_are_neither_shown_nor_stored(self, find: Find, path: Path) -> None:
        with serve_probed() as server:
            url = server.url.replace("http://", "http://anna:open-sesame@") + "?token=open-sesame"
            found = find(openai_tier("small", model="m", base_url=url))
        assert found.url == server.url
        assert "sesame" not in repr(found)
        assert b"sesame" not in path.read_bytes()

    def test_a_key_is_not_taken_to_where_a_redirect_leads(self) -> None:
        with serve_probed() as other, serve_probed() as server:
            server.gets["/v1/models"] = (307, f"{other.url}/models")
            server.special = lambda body: (307, f"{other.url}/chat/completions")
            probe(tier_on(server, api_key=SecretStr(KEY)))
        assert other.paths == []


def test_no_more_questions_at_once_than_the_tier_allows() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def count(body: Body) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    with serve_probed(special=count) as server:
        probe(tier_on(server, max_concurrency=2))
    assert most <= 2


async def test_a_probe_that_is_cancelled_ends() -> None:
    asked, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(body: Body) -> None:
        loop.call_soon_threadsafe(asked.set)
        released.wait(30)

    with serve_probed(special=hang) as server:
        task = asyncio.create_task(aprobe(tier_on(server)))
        await asked.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        released.set()
    assert task.cancelled()
