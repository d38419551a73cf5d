"""What a client is told while a run goes on, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stellwerk.graphs.progress import Progress, Row
from stellwerk.serving import problem
from stellwerk.serving.problem import Documented
from stellwerk.serving.running import Running, client_gone

EVENTS: Documented = {
    200: {"description": "Server-sent events, to the end of the run.", "content": {"text/event-stream": {}}}
}
"""The response of a route that streams."""
_BEAT = b": heartbeat\n\n"


class Events:
    """What is still to be sent."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._waiting: deque[bytes] = deque()

    def put(self, chunk: bytes) -> None:
        """Send it with the next."""
        self._waiting.append(chunk)
        self.news.set()

    def take(self) -> bytes:
        """All that waits."""
        self.news.clear()
        chunk = b"".join(self._waiting)
        self._waiting.clear()
        return chunk


class EventStream(StreamingResponse):
    """Events of a run, and what came of it in the end. A client that goes away stops the run.

    Args:
        running: the run.
        events: of it.
        last: what is sent when it has ended.
        heartbeat: seconds between signs of life.
    """

    def __init__(
        self, running: Running[Any], events: Events, last: Callable[[], Iterable[bytes]], *, heartbeat: float
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(iter(()), headers=headers, media_type="text/event-stream")
        self._running = running
        self._events = events
        self._last = last
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        task, events = self._running.task, self._events
        gone = asyncio.create_task(client_gone(receive))
        for ending in (task, gone):
            ending.add_done_callback(lambda _: events.news.set())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not gone.done():
                try:
                    await asyncio.wait_for(events.news.wait(), self._heartbeat)
                    chunk = events.take()
                except TimeoutError:
                    chunk = _BEAT
                if task.done():
                    chunk += b"".join(self._last())
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if task.done():
                    break
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            if not task.done():
                await self._running.stopped(problem.gone())


class Told:
    """What is new of the subtasks of a run."""

    def __init__(self, progress: Progress, events: Events) -> None:
        self._progress = progress
        self._events = events
        self._rows: dict[str, dict[str, Any]] = {}

    def __call__(self, line: str) -> None:
        """A line says what happened; those subtasks go with it that changed since the last one."""
        rows = {name: _plain(row) for name, row in self._progress.rows.items()}
        new = [row for name, row in rows.items() if row != self._rows.get(name)]
        self._rows = rows
        self._events.put(event("progress", {"message": line, "subtasks": new}))


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """One event."""
    return f"event: {name}\ndata: {json.dumps(data, default=str)}\n\n".encode()


def last_event(running: Running[Any], shown: Callable[[Any], Mapping[str, Any]]) -> Iterable[bytes]:
    """What came of a run: its `values`, or the `error` that it ended with."""
    try:
        yield event("values", shown(running.result()))
    except Exception as error:
        yield event("error", problem.of(error).plain())


def _plain(row: Row) -> dict[str, Any]:
    return {
        "id": row.subtask.id,
        "worker": row.subtask.worker,
        "state": row.state,
        "tier": row.tier or None,
        "attempt": row.attempt,
        "rejected": [{"tier": each.tier, "why": each.why} for each in row.rejected],
    }
