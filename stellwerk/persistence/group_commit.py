"""Writes that wait at the same time share a commit: the disk is most of what SQLite waits for.

Each is acknowledged after the commit that holds it, so nothing is less durable than if it came alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Threads

from stellwerk.errors import DatabaseError
from stellwerk.persistence.executor import Executor, FastWrite
from stellwerk.persistence.retry import passes

_TOGETHER = 64  # so that the first of a long queue does not wait for all of it


class GroupCommit:
    """Takes writes from event loops and commits those that wait, in their order, on one thread.

    Args:
        write: runs a unit in a transaction.
        threads: where to run it.
    """

    def __init__(self, write: Callable[[FastWrite], None], threads: Threads) -> None:
        self._write = write
        self._threads = threads
        self._waiting: deque[tuple[FastWrite, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()
        self._running = False

    async def write(self, unit: FastWrite) -> None:
        """Commit a unit, alone or with others.

        Raises:
            Exception: whatever the unit itself raises; those it was grouped with are none the worse.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((unit, done))
            start, self._running = not self._running, True
        if start:
            try:
                self._threads.submit(self._run)
            except RuntimeError:  # the threads are shut down
                self._refuse()
        await done

    def _refuse(self) -> None:
        with self._lock:
            refused, self._running = list(self._waiting), False
            self._waiting.clear()
        error = DatabaseError("the database is closed; open it anew, or close it later")
        _answer([(done, error) for _, done in refused])

    def _run(self) -> None:
        while True:
            with self._lock:
                count = min(len(self._waiting), _TOGETHER)
                group = [self._waiting.popleft() for _ in range(count)]
                if not group:
                    self._running = False
                    return
            if len(group) > 1:
                try:
                    self._write(_Together([unit for unit, _ in group]))
                except Exception as error:
                    if _waited_for(error):  # each alone would wait as long again
                        _answer([(done, error) for _, done in group])
                        continue
                    for unit, done in group:  # so that the error reaches the one that caused it
                        _answer([(done, self._alone(unit))])
                else:
                    _answer([(done, None) for _, done in group])
            else:
                unit, done = group[0]
                _answer([(done, self._alone(unit))])

    def _alone(self, unit: FastWrite) -> BaseException | None:
        try:
            self._write(unit)
        except BaseException as error:
            return error
        return None


class _Together:
    def __init__(self, units: Sequence[FastWrite]) -> None:
        self._units = units

    def __call__(self, executor: Executor) -> None:
        for unit in self._units:
            unit(executor)

    def one_statement(self, dialect: str) -> bool:
        return False


def _waited_for(error: Exception) -> bool:
    """Whether the database itself failed, after retries; what a unit raises has no such cause."""
    return isinstance(error, DatabaseError) and error.__cause__ is not None and passes(error.__cause__)


def _answer(answers: Sequence[tuple[asyncio.Future[None], BaseException | None]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], BaseException | None]]] = {}
    for done, error in answers:
        by_loop.setdefault(done.get_loop(), []).append((done, error))
    for loop, own in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, own)


def _resolve(answers: Sequence[tuple[asyncio.Future[None], BaseException | None]]) -> None:
    for done, error in answers:
        if done.done():  # whoever waited was cancelled
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
