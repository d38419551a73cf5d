import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from stellwerk.errors import ConfigurationError, ContextOverflowError, TierError, TierTimeoutError
from stellwerk.tiers.gate import Gate
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Price, Reply, Request, Tier
from tests.fake_openai import serve_openai
from tests.fakes import Scripted, always, broken, not_asked

WAIT = 10.0
SCHEMA = {"title": "said", "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

Ask = Callable[[Tier, Request], Reply]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda tier, request: tier.call(request)
    return lambda tier, request: asyncio.run(tier.acall(request))


def prompt(text: str = "Hello", **fields: Any) -> Request:
    return Request(messages=[HumanMessage(text)], **fields)


def test_a_reply_has_the_text_the_tokens_and_the_time(ask: Ask) -> None:
    reply = ask(Tier(name="small", model=Scripted(reply=always("Good day"), cached=1)), prompt())
    assert (reply.text, reply.finish) == ("Good day", "stop")
    assert reply.usage == {"input": 2, "cached": 1, "output": 2}
    assert 0 < reply.seconds < WAIT


def test_the_reason_to_stop_is_passed_on(ask: Ask) -> None:
    cut = AIMessage("Good d", response_metadata={"finish_reason": "length"})
    assert ask(Tier(name="small", model=Scripted(reply=lambda messages: cut)), prompt()).finish == "length"


def test_the_schema_and_the_limit_reach_the_model(ask: Ask) -> None:
    model = Scripted(reply=always("{}"))
    tool = {"type": "function", "function": {"name": "add"}}
    ask(Tier(name="small", model=model), prompt(schema=SCHEMA, max_tokens=7, tools=(tool,)))
    ask(Tier(name="small", model=model), prompt())
    full, bare = model.options
    assert full["max_tokens"] == 7
    assert full["response_format"]["json_schema"] == {"name": "said", "schema": SCHEMA, "strict": True}
    assert full["tools"] == [tool]
    assert not {"max_tokens", "response_format", "tools"} & bare.keys()


def test_an_error_of_the_model_names_the_tier(ask: Ask) -> None:
    with pytest.raises(TierError, match="tier 'small' gave no answer: ConnectionError: connection refused"):
        ask(Tier(name="small", model=Scripted(reply=broken)), prompt())


def test_a_document_of_10_mb_is_refused_with_the_numbers_and_no_call(ask: Ask) -> None:
    model = Scripted(reply=not_asked)
    started = time.perf_counter()
    with pytest.raises(
        ContextOverflowError,
        match=r"10,000,000 characters, at least 1,250,000 tokens; tier 'small' holds 8,192",
    ):
        ask(Tier(name="small", model=model, context_window=8192), prompt("x" * 10_000_000))
    assert model.calls == 0
    assert time.perf_counter() - started < 1


def test_what_might_fit_is_left_to_the_server_to_count(ask: Ask) -> None:
    tier = Tier(name="small", model=Scripted(reply=always("ok")), context_window=100)
    assert ask(tier, prompt("x" * 800)).text == "ok"


def test_text_in_parts_is_counted_by_its_letters(ask: Ask) -> None:
    parts = HumanMessage([{"type": "text", "text": "x" * 10_000}])
    with pytest.raises(ContextOverflowError, match="10,000 characters"):
        ask(Tier(name="s", model=Scripted(reply=not_asked), context_window=100), Request(messages=[parts]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "a tier has a blank name"),
        ({"context_window": 0}, "tier 'small': context_window is 0"),
        ({"max_concurrency": -1}, "tier 'small': max_concurrency is -1"),
    ],
)
def test_an_impossible_tier_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Tier(**{"name": "small", "model": Scripted(reply=not_asked), **fields})


def test_a_call_is_charged_by_tokens_and_seconds() -> None:
    usage: Any = {"input": 1_000_000, "cached": 400_000, "output": 500_000}
    assert Price(input=1, output=2).usd(usage) == pytest.approx(2.0)
    assert Price(input=1, cached=0.25, output=2).usd(usage) == pytest.approx(1.7)
    assert Price(second=0.1).usd(usage, 5.0) == pytest.approx(0.5)
    assert Price().usd(usage, 5.0) == 0


def crowd(**limit: Any) -> tuple[Tier, Tier, Callable[[], int]]:
    """Two tiers, and the most calls that ever ran at once on the two together."""
    lock, running, most = threading.Lock(), 0, 0

    def before(messages: object) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)  # long enough for others to come in, if they can
        with lock:
            running -= 1

    model = Scripted(reply=always("ok"), before=before)
    return Tier(name="a", model=model, **limit), Tier(name="b", model=model, **limit), lambda: most


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_no_more_calls_run_at_once_than_allowed(kind: Literal["own", "shared"]) -> None:
    a, b, most = crowd(max_concurrency=2) if kind == "own" else crowd(gate=Gate(2))
    tiers = [a] * 12 if kind == "own" else [a, b] * 6
    threads = [threading.Thread(target=tier.call, args=(prompt(),)) for tier in tiers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert most() == 2


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"name": "b"}, True),
        ({"max_concurrency": 2}, True),
        ({"max_concurrency": 3}, False),
        ({"max_concurrency": None}, False),
        ({"requests_per_minute": 9}, False),
        ({"tokens_per_minute": 9}, False),
    ],
)
def test_a_tier_with_other_limits_has_a_queue_of_its_own(changed: dict[str, Any], same: bool) -> None:
    tier = Tier(name="a", model=Scripted(reply=always("ok")), max_concurrency=2)
    other = replace(replace(tier, context_window=99), **changed)
    assert (other.gate is tier.gate) is same
    assert other.gate.limit == other.max_concurrency
    again = replace(other, max_concurrency=7)
    assert (again.gate.limit, again.gate.rate.unlimited) == (7, other.gate.rate.unlimited)


def test_a_gate_that_is_given_stands_in_place_of_the_limits() -> None:
    shared = Gate(1)
    tier = Tier(name="a", model=Scripted(reply=always("ok")), max_concurrency=2, gate=shared)
    assert tier.gate is replace(tier, name="b").gate is shared
    other = Gate(5)
    assert replace(tier, max_concurrency=3, gate=other).gate is other
    assert replace(tier, max_concurrency=3).gate.limit == 3


def test_an_error_frees_its_place(ask: Ask) -> None:
    tier = Tier(name="small", model=Scripted(reply=broken), max_concurrency=1)
    for _ in range(2):
        with pytest.raises(TierError):
            ask(tier, prompt())


# Over HTTP


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """Sends these bytes to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # Read to the end: hanging up on unread bytes resets the connection, and the client
                # may lose the answer with it.
                with connection, connection.makefile("rb") as request:
                    length = 0
                    while line := request.readline().strip():
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.partition(b":")[2])
                    request.read(length)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)


class RefusalError(Exception):
    """Makes the server answer with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def serve(answer: Callable[[dict[str, Any]], str]) -> Iterator[str]:
    """A server that keeps connections open, as real ones do."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, data = 200, completion(json.dumps(answer(body)), "stop")
            except RefusalError as refusal:
                status, data = refusal.status, json.dumps({"error": {"message": str(refusal)}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # the default of 5 drops connections of a busy client

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join(WAIT)


def completion(content: str, finish: str) -> bytes:
    """An answer; `content` is JSON."""
    usage = '{"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, '
    usage += '"prompt_tokens_details": {"cached_tokens": 60}}'
    message = f'{{"role": "assistant", "content": {content}}}'
    choice = f'{{"index": 0, "message": {message}, "finish_reason": "{finish}"}}'
    head = '"id": "1", "object": "chat.completion", "created": 0, "model": "m"'
    return f'{{{head}, "choices": [{choice}], "usage": {usage}}}'.encode()


def remote(url: str, **fields: Any) -> Tier:
    return openai_tier("remote", model="some-model", base_url=url, max_retries=0, **fields)


def test_a_server_answers(ask: Ask) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(body)
        return '{"text": "hi"}'

    with serve(answer) as url:
        reply = ask(remote(url), prompt(schema=SCHEMA, max_tokens=9))
    assert (reply.text, reply.finish) == ('{"text": "hi"}', "stop")
    assert reply.usage == {"input": 100, "cached": 60, "output": 7}
    (body,) = bodies
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["model"] == "some-model"
    assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_a_dead_url_fails_fast_and_names_the_tier(ask: Ask) -> None:
    started = time.perf_counter()
    with pytest.raises(TierError, match=r"tier 'remote' gave no answer: .*[Cc]onnection"):
        ask(remote(f"http://127.0.0.1:{closed_port()}/v1"), prompt())
    assert time.perf_counter() - started < 5


def test_a_dead_url_fails_fast_with_the_default_retries(ask: Ask) -> None:
    tier = openai_tier("remote", model="m", base_url=f"http://127.0.0.1:{closed_port()}/v1")
    started = time.perf_counter()
    with pytest.raises(TierError, match="'remote'"):
        ask(tier, prompt())
    assert time.perf_counter() - started < 8


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_refusal_of_the_server_is_passed_on_with_its_words(ask: Ask, status: int) -> None:
    def refuse(body: object) -> str:
        raise RefusalError(status, "out of order")

    with (
        serve(refuse) as url,
        pytest.raises(TierError, match=f"tier 'remote' gave no answer: .*{status}.*out of order") as caught,
    ):
        ask(remote(url), prompt())
    assert not isinstance(caught.value, ContextOverflowError)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "the request exceeds the available context size (4096 tokens)",
    ],
)
def test_a_server_that_finds_the_prompt_too_long_is_understood(ask: Ask, message: str) -> None:
    def refuse(body: object) -> str:
        raise RefusalError(400, message)

    with serve(refuse) as url, pytest.raises(ContextOverflowError, match=r"'remote'.*4096 tokens"):
        ask(remote(url), prompt())


def test_a_server_that_is_busy_once_is_asked_again(ask: Ask) -> None:
    tries = []

    def busy_once(body: object) -> str:
        tries.append(body)
        if len(tries) == 1:
            raise RefusalError(503, "busy")
        return "ok"

    with serve(busy_once) as url:
        tier = openai_tier("remote", model="m", base_url=url, max_retries=1)
        assert ask(tier, prompt()).text == "ok"


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<h1>Welcome</h1>",
        JSON + b"{",
        JSON + b"{}",
        JSON + b'{"choices": []}',
        JSON + b'{"choices": null}',
        JSON + b"[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    ],
)
@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["text", "schema"])
def test_rubbish_from_a_server_is_an_error_of_the_tier(ask: Ask, answer: bytes, schema: Any) -> None:
    with raw_server(answer) as url, pytest.raises(TierError, match="tier 'remote' gave no answer"):
        ask(remote(url), prompt(schema=schema))


@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["text", "schema"])
def test_an_answer_cut_off_by_the_server_is_an_answer_that_was_cut_off(ask: Ask, schema: Any) -> None:
    with raw_server(JSON + completion('"{\\"te"', "length")) as url:
        reply = ask(remote(url), prompt(schema=schema))
    assert (reply.finish, reply.text) == ("length", '{"te')
    assert reply.usage == {"input": 100, "cached": 60, "output": 7}


def test_a_server_that_says_nothing_says_nothing(ask: Ask) -> None:
    with raw_server(JSON + completion("null", "stop")) as url:
        assert ask(remote(url), prompt()).text == ""


def test_a_slow_server_is_given_up_after_the_timeout(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(TierError, match=r"'remote' gave no answer: .*[Tt]imed? ?out"):
            ask(remote(url, timeout=0.2), prompt())


def test_a_second_event_loop_is_no_trouble() -> None:
    with serve(lambda body: "ok") as url:
        tier = openai_tier("remote", model="m", base_url=url)
        for _ in range(3):
            assert asyncio.run(tier.acall(prompt())).text == "ok"


def test_two_event_loops_at_once_are_no_trouble() -> None:
    with serve(lambda body: "ok") as url, ThreadPoolExecutor(2) as pool:
        tier = remote(url)

        async def many() -> list[str]:
            replies = await asyncio.gather(*(tier.acall(prompt()) for _ in range(10)))
            return [reply.text for reply in replies]

        for job in [pool.submit(asyncio.run, many()) for _ in range(2)]:
            assert job.result(WAIT) == ["ok"] * 10


def test_a_server_gets_the_key_given_for_it_and_never_the_one_meant_for_openai(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "meant-for-openai")
    with serve_openai(lambda body: "ok") as server:
        assert openai_tier("own", model="m", base_url=server.url).call(prompt()).text == "ok"
        assert server.keys == {"Bearer EMPTY"}
        tier = openai_tier("own", model="m", base_url=server.url, api_key=SecretStr("its-own"))
        assert tier.call(prompt()).text == "ok"
        assert server.keys == {"Bearer EMPTY", "Bearer its-own"}
    own = openai_tier("openai", model="m").model
    assert isinstance(own, ChatOpenAI)
    assert isinstance(own.openai_api_key, SecretStr)
    assert own.openai_api_key.get_secret_value() == "meant-for-openai"


def test_a_model_without_a_timeout_of_its_own_is_given_up_after_the_tiers(ask: Ask) -> None:
    over = threading.Event()

    async def never(messages: object) -> None:
        await asyncio.Event().wait()

    slow = Scripted(reply=always("too late"), before=lambda messages: over.wait(WAIT), abefore=never)
    with pytest.raises(TierTimeoutError, match=r"tier 'small' .* timed out"):
        ask(Tier(name="small", model=slow, timeout=0.2), prompt())
    assert not over.is_set()
    over.set()


def test_a_tier_that_is_given_another_model_asks_that_one(ask: Ask) -> None:
    tier = Tier(name="small", model=Scripted(reply=always("one")), max_concurrency=1)
    other = replace(tier, model=Scripted(reply=always("two")))
    assert ask(other, prompt()).text == "two"
    assert (other.gate, replace(tier, name="other").pool) == (tier.gate, tier.pool)
