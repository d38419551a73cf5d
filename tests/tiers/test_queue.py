"""Calls of threads and of event loops that wait for one tier."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from stellwerk.errors import TierUnavailableError
from stellwerk.tiers.tier import Request, Tier
from tests.fakes import Scripted, always

WAIT = 20.0


def ask(text: str = "go", flow: str = "", patience: float | None = None) -> Request:
    return Request(messages=[HumanMessage(text)], flow=flow, patience=patience)


class Room:
    """A model that counts who is inside, and the most that ever were; `hold` keeps them in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = self.most = self.visits = 0
        self.order: list[str] = []

    def enter(self, messages: Sequence[BaseMessage]) -> None:
        with self._lock:
            self.inside += 1
            self.visits += 1
            self.most = max(self.most, self.inside)
            self.order.append(messages[-1].text)

    def leave(self) -> None:
        with self._lock:
            self.inside -= 1

    def before(self, messages: Sequence[BaseMessage]) -> None:
        self.enter(messages)
        self.leave()

    async def abefore(self, messages: Sequence[BaseMessage]) -> None:
        self.enter(messages)
        try:
            await asyncio.sleep(0)
        finally:
            self.leave()

    def tier(self, limit: int | None) -> Tier:
        model = Scripted(reply=always("ok"), before=self.before, abefore=self.abefore)
        return Tier(name="small", model=model, max_concurrency=limit)


def waiting(tier: Tier, number: int) -> None:
    """Return once as many wait for a place."""
    turn = threading.Event()
    while tier.gate.waiting < number:
        turn.wait(0.001)


def free(tier: Tier) -> None:
    """Every place of the tier can be had."""
    assert (tier.gate.held, tier.gate.waiting) == (0, 0)
    assert asyncio.run(tier.acall(ask(patience=0.0))).text == "ok"


@pytest.mark.parametrize("limit", [1, 3])
def test_threads_and_event_loops_share_one_limit(limit: int) -> None:
    room = Room()
    tier = room.tier(limit)

    def in_a_thread() -> None:
        for _ in range(20):
            tier.call(ask())

    async def in_a_loop() -> None:
        await asyncio.gather(*(tier.acall(ask()) for _ in range(20)))

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(in_a_thread) for _ in range(3)]
        jobs += [pool.submit(asyncio.run, in_a_loop()) for _ in range(3)]
        for job in jobs:
            job.result(WAIT)
    assert room.visits == 120
    assert room.most <= limit
    free(tier)


def test_the_limit_is_used_to_the_full() -> None:
    together = threading.Barrier(3)
    model = Scripted(reply=always("ok"), before=lambda messages: together.wait(WAIT))
    tier = Tier(name="small", model=model, max_concurrency=3)
    with ThreadPoolExecutor(3) as pool:
        for job in [pool.submit(tier.call, ask()) for _ in range(3)]:
            job.result(WAIT)


class Held:
    """A tier with one place, which is taken until `release`."""

    def __init__(self) -> None:
        self.entered: Future[None] = Future()
        self.released: Future[None] = Future()
        self.order: list[str] = []
        model = Scripted(reply=always("ok"), before=self.before, abefore=self.abefore)
        self.tier = Tier(name="small", model=model, max_concurrency=1)

    def before(self, messages: Sequence[BaseMessage]) -> None:
        self.order.append(messages[-1].text)
        if messages[-1].text == "hold":
            self.entered.set_result(None)
            self.released.result(WAIT)

    async def abefore(self, messages: Sequence[BaseMessage]) -> None:
        self.order.append(messages[-1].text)
        if messages[-1].text == "hold":
            self.entered.set_result(None)
            await asyncio.shield(asyncio.wrap_future(self.released))
        await asyncio.sleep(0)

    def release(self) -> None:
        self.released.set_result(None)


@pytest.mark.parametrize("kind", ["threads", "coroutines"])
def test_calls_of_a_run_are_served_as_they_came_and_runs_take_turns(kind: str) -> None:
    held = Held()
    calls = [ask(f"large {number}", "large") for number in range(6)] + [
        ask(f"small {number}", "small") for number in range(2)
    ]
    if kind == "threads":
        with ThreadPoolExecutor(10) as pool:
            pool.submit(held.tier.call, ask("hold"))
            held.entered.result(WAIT)
            for number, call in enumerate(calls, 1):
                pool.submit(held.tier.call, call)
                waiting(held.tier, number)
            held.release()
    else:

        async def coroutines() -> None:
            tasks = [asyncio.create_task(held.tier.acall(ask("hold")))]
            tasks += [asyncio.create_task(held.tier.acall(call)) for call in calls]
            await asyncio.sleep(0)
            assert held.tier.gate.waiting == len(calls)
            held.release()
            await asyncio.gather(*tasks)

        asyncio.run(coroutines())
    assert held.order[1:] == [
        "large 0",
        "small 0",
        "large 1",
        "small 1",
        *(f"large {number}" for number in range(2, 6)),
    ]


@pytest.mark.parametrize("sync", [True, False])
def test_who_finds_no_place_in_time_is_told_so_and_how_long_it_waited(sync: bool) -> None:
    held = Held()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(held.tier.call, ask("hold"))
        held.entered.result(WAIT)
        call = held.tier.call if sync else lambda request: asyncio.run(held.tier.acall(request))
        with pytest.raises(TierUnavailableError, match=r"'small' had no place for the call") as caught:
            call(ask(patience=0.05))
        assert 0.05 <= caught.value.waited < WAIT
        held.release()
    free(held.tier)


def test_the_wait_for_a_place_is_told_apart_from_the_work() -> None:
    held = Held()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(held.tier.call, ask("hold"))
        held.entered.result(WAIT)
        patient = pool.submit(held.tier.call, ask())
        waiting(held.tier, 1)
        threading.Event().wait(0.05)
        held.release()
        assert patient.result(WAIT).waited >= 0.05
    assert held.tier.call(ask()).waited == 0


async def test_a_coroutine_that_is_cancelled_while_it_waits_loses_no_place() -> None:
    held = Held()
    holder = asyncio.create_task(held.tier.acall(ask("hold")))
    quitter, patient = (asyncio.create_task(held.tier.acall(ask(text))) for text in ("quitter", "patient"))
    await asyncio.sleep(0)
    assert held.tier.gate.waiting == 2
    quitter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await quitter
    held.release()
    await asyncio.gather(holder, patient)
    assert held.order == ["hold", "patient"]
    assert held.tier.gate.held == 0


async def test_a_coroutine_that_is_cancelled_as_it_gets_its_place_hands_it_on() -> None:
    held = Held()
    ticket = held.tier.gate.enter("other", 0, 0.0)
    quitter = asyncio.create_task(held.tier.acall(ask("quitter")))
    await asyncio.sleep(0)
    held.tier.gate.leave(ticket, 0.0)
    quitter.cancel()  # it has the place by now, but has not run since
    with pytest.raises(asyncio.CancelledError):
        await quitter
    assert (held.order, held.tier.gate.held) == ([], 0)


async def test_a_coroutine_that_is_cancelled_while_it_asks_gives_its_place_back() -> None:
    held = Held()
    holder = asyncio.create_task(held.tier.acall(ask("hold")))
    await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(held.entered)), WAIT)
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder
    assert (await held.tier.acall(ask(patience=0.0))).text == "ok"


def test_cancelling_in_one_loop_while_threads_come_and_go_loses_no_place() -> None:
    room = Room()
    tier = room.tier(1)

    async def give_up() -> None:
        quitters = [asyncio.create_task(tier.acall(ask())) for _ in range(20)]
        await asyncio.sleep(0)
        for quitter in quitters[::2]:
            quitter.cancel()
        await asyncio.gather(*quitters, return_exceptions=True)

    def come_and_go() -> None:
        for _ in range(100):
            tier.call(ask())

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(come_and_go), pool.submit(come_and_go)]
        for _ in range(15):
            asyncio.run(give_up())
        for job in jobs:
            job.result(WAIT)
    assert room.most == 1
    free(tier)


def test_an_interrupted_thread_loses_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches the main thread while it waits."""
    tier = Room().tier(1)
    ticket = tier.gate.enter("other", 0, 0.0)

    def interrupted(future: Future[None], timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tier.call(ask())
    tier.gate.leave(ticket, 0.0)
    free(tier)


def test_a_long_queue_that_moves_makes_nobody_give_up() -> None:
    async def slowly(messages: Sequence[BaseMessage]) -> None:
        await asyncio.sleep(0.03)

    tier = Tier(name="small", model=Scripted(reply=always("ok"), abefore=slowly), max_concurrency=1)

    async def many() -> list[float]:
        replies = await asyncio.gather(*(tier.acall(ask(patience=2.0)) for _ in range(100)))
        return [reply.waited for reply in replies]

    assert max(asyncio.run(many())) > 2.5


async def test_an_event_loop_that_was_kept_from_running_does_not_take_answers_for_missing() -> None:
    async def quickly(messages: Sequence[BaseMessage]) -> None:
        await asyncio.sleep(0.05)
        await asyncio.sleep(0)  # an answer takes some turns of the loop to be read

    tier = Tier(name="small", model=Scripted(reply=always("ok"), abefore=quickly), timeout=0.4)
    call = asyncio.create_task(tier.acall(ask()))
    await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251  # somebody blocks the loop
    assert (await call).text == "ok"
