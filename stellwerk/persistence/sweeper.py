"""A thread that does something again and again, until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

logger = logging.getLogger(__name__)


class Sweeper:
    """Calls `sweep` every so many seconds; a failure is logged, and tried again the next time.

    Cancelling its `future` stops it.
    """

    def __init__(self, sweep: Callable[[], object], seconds: float) -> None:
        self._sweep = sweep
        self._seconds = seconds
        self._stopped = threading.Event()
        self.future: Future[None] = Future()
        self.future.add_done_callback(lambda _: self._stopped.set())
        self._thread = threading.Thread(target=self._run, name="stellwerk-sweeper", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._thread.is_alive() and not self._stopped.is_set()

    def stop(self, timeout: float | None) -> bool:
        """Stop it; whether it has stopped after at most so many seconds."""
        self._stopped.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._sweep()
            except Exception as error:
                logger.warning("the sweep of expired items failed, and is tried again later: %s", error)
        try:
            self.future.set_result(None)
        except InvalidStateError:
            return  # it was cancelled, which is why it stops
