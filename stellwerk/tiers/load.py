"""What a vLLM server says of its own queue, read in the background of calls.

The names are those of vLLM's `/metrics`: `vllm:num_requests_running`, `vllm:num_requests_waiting`,
`vllm:kv_cache_usage_perc` (a share from 0 to 1), `vllm:request_queue_time_seconds`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

EVERY = 1.0  # seconds between two readings
_STALE = 5.0  # seconds after which a reading says nothing any more
_TIMEOUT = 2.0  # seconds
_MOST_BYTES = 4_000_000
_NAMES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "cache",
    "vllm:request_queue_time_seconds_sum": "queue_sum",
    "vllm:request_queue_time_seconds_count": "queue_count",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a server.

    Attributes:
        running: requests that it works on.
        waiting: requests in its queue.
        cache: share of its KV cache in use, 0 to 1.
        queue_sum: seconds that requests have waited in its queue since it started.
        queue_count: how many requests that is.
    """

    running: float = 0.0
    waiting: float = 0.0
    cache: float = 0.0
    queue_sum: float = 0.0
    queue_count: float = 0.0


def parse_metrics(text: str) -> Reading | None:
    """A reading from the text that Prometheus reads; None where it has none of vLLM's names.

    Several engines behind one server are summed up, but for the KV cache, of which the fullest counts.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if (field := _NAMES.get(name.strip())) is None:
            continue
        words = (rest.rpartition("}")[2] if "}" in rest else rest).split()
        try:
            value = float(words[0])
        except (IndexError, ValueError):
            continue
        if math.isfinite(value) and value >= 0:
            known = found.get(field, 0.0)
            found[field] = max(known, value) if field == "cache" else known + value
    return Reading(**found) if found else None


class Load:
    """The last reading of a server.

    Args:
        url: of the metrics, such as `http://127.0.0.1:8000/metrics`.
        most_waiting: requests in the server's queue above which it is given no new calls.
        full: share of the KV cache above which a server that has a queue is given no new calls.
    """

    def __init__(self, url: str, *, most_waiting: int = 4, full: float = 0.95) -> None:
        self.url = url
        self.most_waiting = most_waiting
        self.full = full
        self.queue_seconds = 0.0
        """Seconds that a request waited in the server's queue on average, between the last two readings."""
        self._reading: Reading | None = None
        self._read_at = -math.inf
        self._asked_at = -math.inf
        self._lock = threading.Lock()

    @classmethod
    def of(cls, base_url: str) -> Load:
        """The load of a server by its chat URL: vLLM has its metrics at the root."""
        parts = urlsplit(base_url)
        return cls(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/metrics")

    def waiting(self, now: float) -> float:
        """Requests in the server's queue; 0 if that is not known."""
        reading = self._fresh(now)
        return reading.waiting if reading else 0.0

    def queues(self, now: float) -> bool:
        """Whether the server has more calls than it can work on."""
        reading = self._fresh(now)
        if reading is None:
            return False
        return reading.waiting > self.most_waiting or (reading.cache > self.full and reading.waiting > 0)

    def due(self, now: float) -> bool:
        """Whether it is time for another reading; whoever is told so has to make it."""
        with self._lock:
            if now < self._asked_at + EVERY:
                return False
            self._asked_at = now
            return True

    def next_due(self) -> float:
        """When there may be something new."""
        return self._asked_at + EVERY

    def update(self, reading: Reading | None, now: float) -> None:
        """A reading was made; None if it came to nothing."""
        with self._lock:
            before, self._reading, self._read_at = self._reading, reading, now
            if before is not None and reading is not None and reading.queue_count > before.queue_count:
                seconds = reading.queue_sum - before.queue_sum
                self.queue_seconds = max(seconds, 0.0) / (reading.queue_count - before.queue_count)

    def read_in_background(self, clock: Callable[[], float], then: Callable[[], None]) -> None:
        """Make a reading in a thread of its own, which never keeps a process from ending."""
        threading.Thread(target=self._read, args=(clock, then), name="stellwerk load", daemon=True).start()

    def _read(self, clock: Callable[[], float], then: Callable[[], None]) -> None:
        reading = None
        try:
            with httpx.stream("GET", self.url, timeout=_TIMEOUT) as answer:
                body = b""
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        break
                if answer.status_code == 200:
                    reading = parse_metrics(body.decode(errors="replace"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            pass  # no reading is no news; calls go on without
        self.update(reading, clock())
        then()

    def _fresh(self, now: float) -> Reading | None:
        return self._reading if now - self._read_at <= _STALE else None
