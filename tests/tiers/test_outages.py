"""Tiers over real servers that fail in the ways that servers do."""

import asyncio
import json
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from stellwerk.errors import ConfigurationError, TierError, TierTimeoutError, TierUnavailableError
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Reply, Request, Tier
from tests.tiers.faulty import WAIT, Body, Does, FaultyServer, always, closed_port, faulty, first

Ask = Callable[[Tier, Request], Reply]

SOON = 5.0  # seconds in which a call that is ended has ended, also on a busy machine


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda tier, request: tier.call(request)
    return lambda tier, request: asyncio.run(tier.acall(request))


def prompt(text: str = "Hello", **fields: Any) -> Request:
    return Request(messages=[SystemMessage("Be brief."), HumanMessage(text)], **fields)


def tier(*servers: FaultyServer | str, **fields: Any) -> Tier:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return openai_tier("remote", model="m", base_url=urls if len(urls) > 1 else urls[0], **fields)


def home(one: FaultyServer, other: FaultyServer) -> tuple[FaultyServer, FaultyServer]:
    """The two servers, first the one that gets this prompt."""
    both = tier(one, other)
    both.call(prompt())
    ordered = (one, other) if one.requests else (other, one)
    for server in ordered:
        server.bodies.clear()
    return ordered


FAULTS = {
    "500": Does("out of order", status=500),
    "502": Does("bad gateway", status=502),
    "cut off": Does("a long answer" * 20, cut=0.5),
    "hung up": Does(drop=True),
    "no JSON": Does(raw=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"),
    "empty JSON": Does(raw=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}"),
    "a web page": Does(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Welcome</h1>"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_server_is_made_good_by_the_other_at_once(ask: Ask, fault: str) -> None:
    with faulty(always(Does("ok"))) as one, faulty(always(Does("ok"))) as other:
        bad, good = home(one, other)
        bad.script = always(FAULTS[fault])
        reply = ask(tier(one, other), prompt())
    assert reply.text == "ok"
    assert reply.replica == f"127.0.0.1:{good.port}"
    assert [failed.replica for failed in reply.tries] == [f"127.0.0.1:{bad.port}"]
    assert (bad.requests, good.requests) == (1, 1)
    assert reply.waited == 0  # no back-off where another server is there


@pytest.mark.parametrize("fault", ["500", "cut off"])
def test_a_single_server_is_asked_again_after_a_while(ask: Ask, fault: str) -> None:
    with faulty(first(FAULTS[fault], then=Does("ok"))) as server:
        reply = ask(tier(server), prompt())
        assert server.requests == 2
    assert (reply.text, len(reply.tries), reply.replica) == ("ok", 1, "")
    assert reply.waited > 0.1
    assert reply.tries[0].billed is (fault == "cut off")


def test_a_server_that_goes_on_failing_is_given_up_after_so_many_tries(ask: Ask) -> None:
    with faulty(always(FAULTS["500"])) as server:
        with pytest.raises(
            TierError, match=r"'remote' gave no answer: .*out of order.*\(3 tries\)"
        ) as caught:
            ask(tier(server, max_retries=2), prompt())
        assert server.requests == len(caught.value.tries) == 3
    assert not isinstance(caught.value, TierUnavailableError | TierTimeoutError)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_request_that_is_refused_is_not_made_again(ask: Ask, status: int) -> None:
    with faulty(always(Does("no", status=status))) as one, faulty(always(Does("no", status=status))) as other:
        with pytest.raises(TierError, match="no"):
            ask(tier(one, other), prompt())
        assert one.requests + other.requests == 1


@pytest.mark.parametrize(
    ("status", "form"), [(429, "seconds"), (503, "seconds"), (429, "date"), (503, "milliseconds")]
)
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(ask: Ask, status: int, form: str) -> None:
    asked: list[float] = []
    free_at = 0.0

    def script(number: int, body: Body) -> Does:
        nonlocal free_at
        asked.append(time.time())
        if number:
            return Does("ok")
        free_at = float(int(time.time()) + 2) if form == "date" else time.time() + 1
        headers = {
            "seconds": {"Retry-After": "1"},
            "date": {"Retry-After": formatdate(free_at, usegmt=True)},
            "milliseconds": {"retry-after-ms": "1000"},
        }
        return Does("busy", status=status, headers=headers[form])

    with faulty(script) as server:
        busy = tier(server)
        reply = ask(busy, prompt())
    assert reply.text == "ok"
    assert len(asked) == 2
    assert asked[1] >= free_at - 0.01
    assert busy.pool.replicas[0].admits(time.monotonic())  # busy is no failure


def test_while_one_server_is_busy_calls_go_to_the_other(ask: Ask) -> None:
    with faulty(always(Does("ok"))) as one, faulty(always(Does("ok"))) as other:
        busy, idle = home(one, other)
        busy.script = always(Does("busy", status=429, headers={"Retry-After": "300"}))
        both = tier(one, other)
        for _ in range(5):
            assert ask(both, prompt()).text == "ok"
        assert (busy.requests, idle.requests) == (1, 5)


def test_a_server_that_is_busy_for_too_long_is_not_waited_for(ask: Ask) -> None:
    with faulty(always(Does("busy", status=429, headers={"Retry-After": "300"}))) as server:
        started = time.monotonic()
        with pytest.raises(TierUnavailableError, match=r"'remote' had no server for the call \(busy for"):
            ask(tier(server), prompt(patience=10.0))
        assert time.monotonic() - started < SOON
        assert server.requests == 1


def test_a_quota_that_is_used_up_is_no_reason_to_wait(ask: Ask) -> None:
    quota = Does('{"code": "insufficient_quota"}', status=429, headers={"Retry-After": "1"})
    with faulty(always(quota)) as server:
        with pytest.raises(TierError, match="insufficient_quota") as caught:
            ask(tier(server), prompt())
        assert server.requests == 1
    assert not isinstance(caught.value, TierUnavailableError)


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_call_that_hangs_is_ended_and_made_once_on_another_server(ask: Ask, kind: str) -> None:
    """Also where a byte comes now and then, for which no client's read timeout ever ends."""
    hangs = Does(hang=True) if kind == "hang" else Does("x" * 1000, drip=0.05)
    with faulty(always(Does("ok"))) as one, faulty(always(Does("ok"))) as other:
        bad, _ = home(one, other)
        bad.script = always(hangs)
        reply = ask(tier(one, other, timeout=1.0), prompt())
        bad.wait_idle()  # it was hung up on
    assert reply.text == "ok"
    (failed,) = reply.tries
    assert failed.billed
    assert 1.0 <= failed.seconds < SOON
    assert reply.seconds < failed.seconds + SOON


def test_where_all_servers_hang_a_call_ends_after_two_timeouts(ask: Ask) -> None:
    with faulty(always(Does(hang=True))) as one, faulty(always(Does(hang=True))) as other:
        with pytest.raises(TierTimeoutError, match=r"gave no answer: .*[Tt]imed out.*\(2 tries\)"):
            ask(tier(one, other, timeout=0.8), prompt(patience=5.0))
        assert (one.requests, other.requests) == (1, 1)


def test_a_single_server_that_hangs_is_not_asked_again(ask: Ask) -> None:
    with faulty(always(Does(hang=True))) as server:
        with pytest.raises(TierTimeoutError, match=r"[Tt]imed out"):
            ask(tier(server, timeout=0.8), prompt())
        assert server.requests == 1


def test_the_deadline_ends_a_call_before_the_timeout_does(ask: Ask) -> None:
    with faulty(always(Does(hang=True))) as one, faulty(always(Does(hang=True))) as other:
        started = time.monotonic()
        with pytest.raises(TierTimeoutError):
            ask(tier(one, other, timeout=60.0), prompt(deadline=started + 0.5))
        assert time.monotonic() - started < SOON
        assert one.requests + other.requests <= 1


def test_after_the_deadline_nothing_is_asked(ask: Ask) -> None:
    with faulty(always(Does("ok"))) as server:
        with pytest.raises(TierTimeoutError, match="raise the budget's seconds"):
            ask(tier(server), prompt(deadline=time.monotonic() - 1))
        assert server.requests == 0


def test_a_slow_first_token_is_waited_for(ask: Ask) -> None:
    with faulty(always(Does("late", after=0.5))) as server:
        reply = ask(tier(server), prompt())
    assert reply.text == "late"
    assert reply.seconds >= 0.5


def test_a_server_that_is_not_there_is_passed_over(ask: Ask) -> None:
    with faulty(always(Does("ok"))) as server:
        both = tier(f"http://127.0.0.1:{closed_port()}/v1", server)
        for number in range(8):
            assert ask(both, prompt(str(number))).text == "ok"
        assert server.requests == 8
        dead = both.pool.replicas[0]
        assert dead.breaker is not None


def test_a_server_that_comes_back_is_used_again(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    port, failed, over = closed_port(), threading.Event(), threading.Event()
    with faulty(always(Does("ok")), port) as server:
        only = tier(server)
        assert ask(only, prompt()).text == "ok"
    fail = only.pool.fail

    def noted(*told: Any) -> None:
        fail(*told)
        failed.set()

    def restart() -> None:
        failed.wait(WAIT)
        with faulty(always(Does("again")), port):
            over.wait(WAIT)

    monkeypatch.setattr(only.pool, "fail", noted)
    thread = threading.Thread(target=restart)
    thread.start()
    try:
        reply = ask(only, prompt())
    finally:
        over.set()
        thread.join(WAIT)
    assert reply.text == "again"
    assert reply.tries
    assert reply.waited > 0


def test_an_outage_costs_a_few_timeouts_and_not_one_for_each_call() -> None:
    with faulty(always(Does(hang=True))) as server:
        down = tier(server, timeout=0.3, max_concurrency=4)

        async def many() -> list[Any]:
            calls = (down.acall(prompt(str(number), patience=0.5)) for number in range(100))
            return await asyncio.gather(*calls, return_exceptions=True)

        started = time.monotonic()
        outcomes = asyncio.run(many())
        assert time.monotonic() - started < 100 * 0.3 / 4
        assert {type(outcome) for outcome in outcomes} == {TierTimeoutError, TierUnavailableError}
        assert server.requests <= 10


def test_urls_that_never_answered_are_not_waited_for(ask: Ask) -> None:
    dead = tier(f"http://127.0.0.1:{closed_port()}/v1", max_retries=1)
    started = time.monotonic()
    for _ in range(10):
        with pytest.raises(TierUnavailableError, match="'remote'"):
            ask(dead, prompt())
    assert time.monotonic() - started < 2 * SOON


def test_the_key_is_in_no_error(ask: Ask) -> None:
    from pydantic import SecretStr

    key = "sk-a-secret-of-the-server"
    with (
        faulty(always(Does(f"your key {key} is wrong", status=500))) as server,
        pytest.raises(TierError, match=r"your key \*\*\* is wrong") as caught,
    ):
        ask(tier(server, api_key=SecretStr(key), max_retries=1), prompt())
    assert key not in repr(caught.value.tries)


def test_the_password_of_the_url_is_in_no_error(ask: Ask) -> None:
    said = Does("no route for http://me:sesame%2Fopen@model/v1, sesame/open", status=500)
    with faulty(always(said)) as server:
        made = tier(server.url.replace("://", "://me:sesame%2Fopen@"), max_retries=1)
        with pytest.raises(TierError, match=r"me:\*\*\*@model/v1, \*\*\*") as caught:
            ask(made, prompt())
    assert "sesame" not in "".join(traceback.format_exception(caught.value))
    assert "sesame" not in repr(caught.value.tries)
    assert "sesame" not in repr(made)


def test_four_places_are_never_five_at_the_servers() -> None:
    """With failures, retries, fail-overs, timeouts and cancelled calls, in threads and an event loop."""

    def script(number: int, body: Body) -> Does:
        return {2: FAULTS["500"], 5: Does(hang=True), 8: FAULTS["cut off"]}.get(number % 10, Does(after=0.02))

    with faulty(script) as server:
        other_name = f"http://localhost:{server.port}/v1"  # two replicas, one count
        both = tier(server, other_name, max_concurrency=4, timeout=0.3, max_retries=8)

        async def in_a_loop() -> None:
            tasks = [asyncio.create_task(both.acall(prompt(str(number)))) for number in range(25)]
            for delay, task in enumerate(tasks[::4]):
                asyncio.get_running_loop().call_later(delay * 0.1, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)

        def in_a_thread(number: int) -> None:
            with suppress(TierError):
                both.call(prompt(str(number)))

        with ThreadPoolExecutor(8) as pool:
            jobs: list[Future[Any]] = [pool.submit(asyncio.run, in_a_loop())]
            jobs += [pool.submit(in_a_thread, number) for number in range(25)]
            for job in jobs:
                job.result(60.0)
        assert server.requests > 45
        assert server.peak <= 4
        server.wait_idle()
    assert (both.gate.held, both.gate.waiting) == (0, 0)


async def test_a_call_that_is_cancelled_hangs_up() -> None:
    with faulty(always(Does(hang=True))) as server:
        task = asyncio.create_task(tier(server).acall(prompt()))
        await asyncio.to_thread(server.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_idle)


def test_calls_are_spread_by_how_many_each_server_has() -> None:
    release: Future[None] = Future()
    with (
        faulty(always(Does("ok", until=release))) as one,
        faulty(always(Does("ok", until=release))) as other,
        ThreadPoolExecutor(20) as pool,
    ):
        both = tier(one, other, max_concurrency=20)
        jobs = [pool.submit(both.call, prompt()) for _ in range(20)]
        while one.requests + other.requests < 20:
            threading.Event().wait(0.005)
        release.set_result(None)
        for job in jobs:
            assert job.result(WAIT).text == "ok"
        assert abs(one.requests - other.requests) <= 4


def test_the_same_page_goes_to_the_same_server(ask: Ask) -> None:
    with faulty(always(Does("ok"))) as one, faulty(always(Does("ok"))) as other:
        both = tier(one, other)
        for page in ("first", "second", "third", "fourth", "fifth"):
            asked = {ask(both, prompt(f"{page} " * 1000 + f"Job: {job}")).replica for job in range(4)}
            assert len(asked) == 1


def test_a_server_whose_queue_is_long_gets_no_new_calls_and_the_other_does() -> None:
    with faulty(always(Does("ok"))) as one, faulty(always(Does("ok"))) as other:
        full, idle = home(one, other)
        full.metrics, idle.metrics = "vllm:num_requests_waiting 9", "vllm:num_requests_waiting 0"
        both = tier(one, other, metrics=True)
        both.call(prompt("warm up"))  # has both read in the background
        loads = [replica.load for replica in both.pool.replicas]
        until = time.monotonic() + WAIT
        while not any(load and load.queues(time.monotonic()) for load in loads) and time.monotonic() < until:
            threading.Event().wait(0.005)
        before = full.requests
        for _ in range(5):
            both.call(prompt())
        assert full.requests == before


def test_where_every_queue_is_long_a_call_waits_until_one_is_shorter() -> None:
    with faulty(always(Does("ok"))) as server:
        server.metrics, began = "vllm:num_requests_waiting 9", time.monotonic()
        only = tier(server, metrics=True)
        only.call(prompt())
        load = only.pool.replicas[0].load
        assert load is not None
        until = time.monotonic() + WAIT
        while not load.queues(time.monotonic()) and time.monotonic() < until:
            threading.Event().wait(0.005)
        with pytest.raises(TierUnavailableError, match="its own queue is long"):
            only.call(prompt(patience=0.0))
        server.metrics = "vllm:num_requests_waiting 0"
        reply = only.call(prompt())
        assert reply.waited > 0
        assert server.metrics_read <= 1 + time.monotonic() - began  # once a second, and no more


def test_requests_per_minute_are_kept_also_by_retries(ask: Ask) -> None:
    with faulty(always(FAULTS["500"])) as server:
        slow = tier(server, requests_per_minute=3, max_retries=10)
        with pytest.raises(TierUnavailableError, match="rate limit"):
            ask(slow, prompt(patience=5.0))
        assert server.requests == 3
        with pytest.raises(TierUnavailableError, match="no place"):
            ask(slow, prompt(patience=0.1))


def test_tokens_per_minute_are_estimated_before_and_put_right_after(ask: Ask) -> None:
    with faulty(always(Does("ok"))) as server:  # says that it took 110 tokens
        limited = tier(server, tokens_per_minute=1000)
        for _ in range(4):
            assert ask(limited, prompt(max_tokens=400, patience=0.0)).text == "ok"
        with pytest.raises(TierUnavailableError, match="no place"):
            ask(limited, prompt(max_tokens=900, patience=0.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": []}, "base_url is an empty list"),
        ({"base_url": ["http://a/v1", "http://a/v1/"]}, "has the replica 'a' twice"),
        ({"base_url": "127.0.0.1:8101"}, "base_url '127.0.0.1:8101' is no URL; it looks like http"),
        ({"requests_per_minute": 0}, "tier 'remote': requests_per_minute is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"max_retries": -1}, "max_retries is -1"),
    ],
)
def test_an_impossible_tier_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        openai_tier("remote", model="m", **{"base_url": "http://a/v1", **fields})


def test_a_replica_is_named_without_what_is_secret_in_its_url() -> None:
    urls = ["http://user:secret@one:8000/v1", "http://two:8000/gateway/v1?key=secret"]
    both = openai_tier("remote", model="m", base_url=urls)
    assert [replica.name for replica in both.pool.replicas] == ["one:8000", "two:8000/gateway"]


def test_arguments_that_are_no_object_are_the_models_fault_and_not_the_servers(ask: Ask) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '"2+3"'}}
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    with faulty(always(answers({"role": "assistant", "content": None, "tool_calls": [call]}))) as server:
        reply = ask(tier(server), prompt(tools=(tool,)))
    assert server.requests == 1
    assert [bad["args"] for bad in reply.message.invalid_tool_calls] == ['"2+3"']


def test_a_filtered_answer_is_not_taken_for_one_that_was_too_long(ask: Ask) -> None:
    filtered = answers({"role": "assistant", "content": ""}, finish="content_filter")
    with faulty(always(filtered)) as server:
        reply = ask(tier(server), prompt(schema={"title": "said", "type": "object", "properties": {}}))
    assert (reply.finish, server.requests) == ("content_filter", 1)


def test_tools_are_part_of_the_prompt_that_was_lost() -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "long " * 2_000, "parameters": {}}}
    with faulty(first(Does(drop=True))) as server:
        with_tools, without = prompt(tools=(tool,)), prompt()
        reply = tier(server).call(with_tools)
    assert reply.tries[0].billed
    assert with_tools.expected_input - without.expected_input >= 2_500


def answers(message: dict[str, Any], finish: str = "stop") -> Does:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Does(raw=(head + body).encode())
