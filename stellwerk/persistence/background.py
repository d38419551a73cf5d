"""Writing in the background: a thread that takes what is queued in batches, and never holds anyone up."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)
_IDLE = 5.0  # seconds after which the thread ends; the next item starts another
_AT_EXIT = 5.0  # seconds that all writers together may keep a process from ending


class BackgroundWriter(Generic[T]):
    """Queues items, and hands them in batches to a function that runs in a thread of its own.

    What cannot be queued or written is dropped, counted in `dropped`, and warned of once until writing
    works again.

    Args:
        write: gets a batch, and returns how many of it had to be left out; what it raises drops the batch.
        name: for the thread, and in warnings.
        max_items: queued at most.
        max_size: of the queued items at most, as told to `put`.
        batch: items in one batch at most.
        batch_size: of a batch's items together, about.
        linger: seconds that a first item waits for others.
    """

    def __init__(
        self,
        write: Callable[[list[T]], int],
        *,
        name: str,
        max_items: int = 10_000,
        max_size: int = 64_000_000,
        batch: int = 500,
        batch_size: int = 4_000_000,
        linger: float = 0.2,
    ) -> None:
        self.dropped = 0
        self._write = write
        self._name = name
        self._max_items, self._max_size = max_items, max_size
        self._batch, self._batch_size = batch, batch_size
        self._linger = linger
        self._closed = False
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        lock = threading.Lock()
        self._wake, self._done = threading.Condition(lock), threading.Condition(lock)
        self._queue: deque[tuple[T, int]] = deque()
        self._size = 0
        self._accepted = self._finished = self._urgent = 0
        self._thread: threading.Thread | None = None
        self._failing = False

    def put(self, item: T, size: int) -> bool:
        """Queue an item, or drop it where the queue is full. Returns at once."""
        with self._wake:
            full = len(self._queue) >= self._max_items or self._size + size > self._max_size
            if self._closed or full or not self._started():
                self.dropped += 1
                first, self._failing = not self._failing, True
            else:
                first = False
                self._queue.append((item, size))
                self._size += size
                self._accepted += 1
                # Not at every item: the thread would take the interpreter from the caller each time.
                if len(self._queue) in (1, self._batch):
                    self._wake.notify()
                return True
        if first:
            why = "it is closed" if self._closed else "writing is slower than the runs, or stands still"
            _log.warning("%s: rows are being dropped, as %s", self._name, why)
        return False

    def flush(self, timeout: float) -> bool:
        """Wait until what is queued is written, or dropped; False if that takes longer, in seconds."""
        deadline = time.monotonic() + timeout
        with self._done:
            target = self._urgent = self._accepted
            self._wake.notify()
            while self._finished < target:
                left = deadline - time.monotonic()
                if left <= 0 or not self._started():
                    return False
                self._done.wait(left)
        return True

    def close(self, timeout: float) -> bool:
        """As `flush`; what is put afterwards, or is not written in time, is dropped."""
        with self._wake:
            self._closed = True
        if done := self.flush(timeout):
            return done
        with self._wake:
            left = len(self._queue)
            self.dropped += left
            self._queue.clear()
            self._size = 0
            self._finished += left
        _log.warning("%s: closed with rows not yet written; %s were dropped", self._name, left)
        return False

    def _started(self) -> bool:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down, or there are too many threads
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while batch := self._next():
            left_out, error = len(batch), None
            try:
                left_out = self._write(batch)
            except Exception as caught:
                error = caught
            with self._done:
                self.dropped += left_out
                first = left_out > 0 and not self._failing
                again = not left_out and self._failing
                self._failing = left_out > 0
            # Before whoever waits goes on: at the end of a process nothing is logged later.
            if first:
                why = error or "they do not fit"
                _log.warning("%s: rows are being dropped: %s", self._name, why)
            elif again:
                _log.info("%s: rows are written again; %s were dropped in all", self._name, self.dropped)
            with self._done:
                self._finished += len(batch)
                self._done.notify_all()

    def _next(self) -> list[T]:
        with self._wake:
            while not self._queue:
                if self._closed or (not self._wake.wait(_IDLE) and not self._queue):
                    self._thread = None
                    return []
            until = time.monotonic() + self._linger
            while len(self._queue) < self._batch and self._finished >= self._urgent and not self._closed:
                if (left := until - time.monotonic()) <= 0:
                    break
                self._wake.wait(left)
            taken: list[T] = []
            size = 0
            while self._queue and len(taken) < self._batch and (not taken or size < self._batch_size):
                item, own = self._queue.popleft()
                taken.append(item)
                size += own
            self._size -= size
            return taken


_writers: weakref.WeakSet[BackgroundWriter[Any]] = weakref.WeakSet()


def _close_all() -> None:
    until = time.monotonic() + _AT_EXIT
    for writer in list(_writers):
        writer.close(max(0.0, until - time.monotonic()))


def _after_fork() -> None:
    # What is queued is the parent's to write; its thread and whoever held the lock are not here.
    for writer in list(_writers):
        writer._reset()  # the state of this module's own class


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
