"""Responses of LangServe's: what came of a run, or its events while it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Coroutine, Iterable, Mapping
from typing import Any, cast

from fastapi import Request, Response
from sse_starlette import EventSourceResponse

from stellwerk.serving import problem
from stellwerk.serving.event_stream import Events, EventStream
from stellwerk.serving.langserve.visit import Answering, Visit
from stellwerk.serving.problem import Problem
from stellwerk.serving.running import client_gone, outcome

Made = AsyncIterable[Mapping[str, str]]


async def at_once(request: Request, visit: Visit, made: Coroutine[Any, Any, Response]) -> Response:
    """A response, once its runs have ended; a client that goes away stops them."""
    try:
        return await outcome(request, Answering(visit, made))
    except Problem as found:
        _name_threads(found, visit)
        raise


async def as_events(request: Request, visit: Visit, made: EventSourceResponse) -> Response:
    """The events of a run, as LangServe makes them.

    What is wrong before the run has begun is an error of HTTP, and what goes wrong later is an event.
    """
    events = Events()
    answering = Answering(visit, _fed(cast("Made", made.body_iterator), events))
    begun, gone = asyncio.create_task(visit.begun.wait()), asyncio.create_task(client_gone(request.receive))
    try:
        await asyncio.wait([answering.task, begun, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        begun.cancel()
        gone.cancel()
        if not visit.begun.is_set() and not answering.task.done():
            await answering.stopped(problem.gone())
    if not visit.begun.is_set():
        _check(answering)
    return EventStream(
        answering,
        events,
        lambda: _last(answering, visit),
        heartbeat=visit.service.settings.serve.heartbeat_seconds,
    )


async def _fed(made: Made, events: Events) -> None:
    async for each in made:
        if each["event"] != "error":  # LangServe's, which says nothing; it raises what went wrong
            events.put(_event(**each))


def _check(answering: Answering[None]) -> None:
    try:
        answering.result()
    except Problem:
        raise
    except Exception as error:
        raise problem.of(error) from error


def _last(answering: Answering[None], visit: Visit) -> Iterable[bytes]:
    try:
        answering.result()
    except Exception as error:
        found = problem.of(error)
        _name_threads(found, visit)
        said = {"status_code": found.status, "message": f"{found.title}: {found.detail}", **found.more}
        yield _event("error", json.dumps(said))


def _name_threads(found: Problem, visit: Visit) -> None:
    """Name the threads that it can be gone on with; their ids may be new to the client."""
    threads = list(visit.threads.values())
    if len(threads) == 1:
        found.more["thread_id"] = threads[0]
    elif threads:
        found.more["thread_ids"] = threads


def _event(event: str, data: str = "") -> bytes:
    told = f"data: {data}\n" if data else ""
    return f"event: {event}\n{told}\n".encode()
