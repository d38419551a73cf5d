"""What a run knows of its lease while a heartbeat keeps it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

from stellwerk.errors import DatabaseError, LeaseError, RunCancelledError
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.run_units import Status

_ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, LeaseError)
_PAUSE = 0.2  # seconds until a database that is down is tried again
_STEPS = 8  # of an interval: leases that are renewed at the same step share a transaction


class Hold:
    """A thread that is held for as long as the block around it lasts.

    `status`, `error` and `totals` are what the run's row will say when the block ends; an exception that
    leaves it sets the first two. `stop` is set when the lease is lost, or when somebody asked for the run
    to be cancelled; `reason` says which.
    """

    def __init__(self, lease: Lease, *, interval: float | None, asked_at: float) -> None:
        self.lease = lease
        self.status: Status = "done"
        self.error: str | None = None
        self.totals: Mapping[str, Any] | None = None
        self.stop = threading.Event()
        self.reason: Exception | None = None
        self._interval = lease.ttl / 3 if interval is None else interval
        self._good_until = asked_at + lease.ttl
        self._failing = False

    @property
    def config(self) -> RunnableConfig:
        """As `Lease.config`."""
        return self.lease.config

    @property
    def run_id(self) -> str:
        """The run, a UUID."""
        return self.lease.run_id

    def bind(self, config: RunnableConfig) -> RunnableConfig:
        """As `Lease.bind`."""
        return self.lease.bind(config)

    def check(self) -> None:
        """Return if the thread is still held and nobody asked to stop; for the loops of sync code.

        Raises:
            LeaseError: if the lease is lost.
            RunCancelledError: if somebody asked for the run to be cancelled.
        """
        if self.left <= 0:
            self.expire()
        if self.reason is not None:
            raise self.reason

    @property
    def lost(self) -> bool:
        """Whether the lease is lost."""
        return isinstance(self.reason, LeaseError)

    @property
    def left(self) -> float:
        """Seconds for which the lease is known to be good."""
        return max(0.0, self._good_until - time.monotonic())

    def expire(self, error: Exception | None = None) -> None:
        """Note that the lease was not renewed in time; a renewal that comes later changes nothing."""
        if self.lost:
            return
        said = "" if error is None else f" ({error})"
        self._stop(
            LeaseError(
                f"the lease of thread {self.lease.thread_id!r} could not be renewed for "
                f"{self.lease.ttl:g} seconds; claim it again when the database is back{said}"
            )
        )

    @property
    def pause(self) -> float:
        """Seconds until the next renewal, at a moment that other runs of this process choose as well."""
        if self._failing:
            return _PAUSE
        step, at = self._interval / _STEPS, time.monotonic()
        return (at + self._interval) // step * step - at

    def renewed(self, lease: Lease, asked_at: float) -> None:
        """Note a renewal, asked for at a moment of the monotonic clock."""
        self.lease = lease
        self._good_until, self._failing = asked_at + lease.ttl, False
        if lease.cancel_requested and self.reason is None:
            self._stop(RunCancelledError(f"run {lease.run_id} of thread {lease.thread_id!r} was cancelled"))

    def not_renewed(self, error: Exception) -> None:
        """Note that a renewal failed; a database that does not answer is waited for while the lease lasts.

        Any other error ends the heartbeat, and so the run.
        """
        self._failing = True
        if isinstance(error, LeaseError) or not isinstance(error, DatabaseError):
            self._stop(error)
        elif self.left <= 0:
            self.expire(error)

    def ended_with(self, error: BaseException) -> None:
        """Note the exception that leaves the block."""
        if isinstance(error, RunCancelledError):
            self.status = "cancelled"
        else:
            self.status = "interrupted" if isinstance(error, _ENDINGS) else "failed"
        self.error = f"{type(error).__name__}: {error}".rstrip(": ")

    def _stop(self, reason: Exception) -> None:
        self.reason = reason
        self.stop.set()
