import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from stellwerk.tiers.throttle import Throttle

WAIT = 10.0


class Room:
    """Counts who is inside, and the most that ever were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = self.most = self.visits = 0

    @contextmanager
    def visit(self) -> Iterator[None]:
        with self._lock:
            self.inside += 1
            self.visits += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1


def waiting(throttle: Throttle, number: int) -> None:
    """Return once as many wait for a place."""
    turn = threading.Event()
    while len(throttle._waiting) < number:
        turn.wait(0.001)


@pytest.mark.parametrize("limit", [1, 3])
def test_threads_and_event_loops_share_one_limit(limit: int) -> None:
    throttle, room = Throttle(limit), Room()

    def in_a_thread() -> None:
        for _ in range(50):
            with throttle.hold(), room.visit():
                pass

    async def in_a_loop() -> None:
        async def one() -> None:
            async with throttle.ahold():
                with room.visit():
                    await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(50)))

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(in_a_thread) for _ in range(4)]
        jobs += [pool.submit(asyncio.run, in_a_loop()) for _ in range(4)]
        for job in jobs:
            job.result(WAIT)
    assert room.visits == 400
    assert room.most <= limit


def test_the_limit_is_used_to_the_full() -> None:
    throttle, together = Throttle(3), threading.Barrier(3)

    def hold() -> None:
        with throttle.hold():
            together.wait(WAIT)

    with ThreadPoolExecutor(3) as pool:
        for job in [pool.submit(hold) for _ in range(3)]:
            job.result(WAIT)


async def test_no_limit_lets_everyone_in() -> None:
    throttle, inside = Throttle(None), 0
    everyone = asyncio.Event()

    async def hold() -> None:
        nonlocal inside
        async with throttle.ahold():
            inside += 1
            if inside == 100:
                everyone.set()
            await everyone.wait()

    await asyncio.wait_for(asyncio.gather(*(hold() for _ in range(100))), WAIT)
    with throttle.hold(), throttle.hold():
        pass


def test_threads_are_served_in_the_order_in_which_they_came() -> None:
    throttle = Throttle(1)
    served: list[int] = []

    def hold(number: int) -> None:
        with throttle.hold():
            served.append(number)

    with ThreadPoolExecutor(10) as pool:
        with throttle.hold():
            for number in range(10):
                pool.submit(hold, number)
                waiting(throttle, number + 1)
        pool.shutdown()
    assert served == list(range(10))


async def test_coroutines_are_served_in_the_order_in_which_they_came() -> None:
    throttle = Throttle(1)
    served: list[int] = []

    async def hold(number: int) -> None:
        async with throttle.ahold():
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(hold(number) for number in range(10)))
    assert served == list(range(10))


def test_a_place_is_given_back_after_an_error() -> None:
    throttle = Throttle(1)
    for _ in range(2):
        with pytest.raises(KeyError), throttle.hold():
            raise KeyError
    asyncio.run(_enter(throttle))


async def _enter(throttle: Throttle) -> None:
    async with asyncio.timeout(WAIT):
        async with throttle.ahold():
            pass


async def test_one_who_gives_up_waiting_does_not_take_a_place() -> None:
    throttle = Throttle(1)
    async with throttle.ahold():
        quitter = asyncio.create_task(_enter(throttle))
        patient = asyncio.create_task(_enter(throttle))
        await asyncio.sleep(0)
        quitter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await quitter
    await patient
    await _enter(throttle)


async def test_one_who_gives_up_as_the_place_is_granted_hands_it_on() -> None:
    throttle = Throttle(1)
    async with throttle.ahold():
        quitter = asyncio.create_task(_enter(throttle))
        await asyncio.sleep(0)
    quitter.cancel()  # the place is granted by now, but the task has not run since
    with pytest.raises(asyncio.CancelledError):
        await quitter
    await _enter(throttle)


async def test_a_holder_who_is_cancelled_gives_the_place_back() -> None:
    throttle, inside = Throttle(1), asyncio.Event()

    async def hold() -> None:
        async with throttle.ahold():
            inside.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await inside.wait()
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder
    await _enter(throttle)


def test_cancelling_in_one_loop_while_a_thread_grants_loses_no_place() -> None:
    throttle = Throttle(1)

    async def give_up() -> None:
        quitters = [asyncio.create_task(_enter(throttle)) for _ in range(20)]
        await asyncio.sleep(0)
        for quitter in quitters[::2]:
            quitter.cancel()
        await asyncio.gather(*quitters, return_exceptions=True)

    def come_and_go() -> None:
        for _ in range(200):
            with throttle.hold():
                pass

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(come_and_go), pool.submit(come_and_go)]
        for _ in range(20):
            asyncio.run(give_up())
        for job in jobs:
            job.result(WAIT)
    asyncio.run(_enter(throttle))


def test_an_interrupted_thread_loses_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches the main thread while it waits."""
    throttle = Throttle(1)

    def interrupted(ticket: Future[None], timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with throttle.hold(), monkeypatch.context() as patch:
        patch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt), throttle.hold():
            pass
    asyncio.run(_enter(throttle))
