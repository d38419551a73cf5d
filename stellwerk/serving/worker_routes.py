"""Single workers, without a thread."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from langchain_core.runnables import RunnableConfig

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.serving.bodies import WorkerBody, documents_of
from stellwerk.serving.door import Owner
from stellwerk.serving.event_stream import EVENTS, Events, EventStream, event, last_event
from stellwerk.serving.problem import conflict
from stellwerk.serving.running import outcome
from stellwerk.serving.service import Service, TheService
from stellwerk.serving.threads import inner

router = APIRouter(tags=["workers"])

_OUTPUT = ("value", "verdict", "calls")


@router.get("/workers")
async def list_workers(owner: Owner, service: TheService) -> dict[str, Any]:
    """The workers, and the tiers that they may be given."""
    workers = [{"name": one.name, "description": one.description} for one in service.workers.values()]
    return {"workers": workers, "tiers": list(service.probed.ladder.names)}


@router.post("/workers/{name}/runs")
async def run(
    name: str, body: WorkerBody, request: Request, owner: Owner, service: TheService
) -> dict[str, Any]:
    """Make one attempt at a job on one tier; nothing of it is kept but its trace."""
    given = job_of(name, body, service)
    running = service.runs.start(owner, partial(_work, name, given, owner, service, lambda step: None))
    return await outcome(request, running)


@router.post("/workers/{name}/runs/stream", response_class=Response, responses=EVENTS)
async def stream(name: str, body: WorkerBody, owner: Owner, service: TheService) -> Response:
    """As `run`, and tell each step."""
    given = job_of(name, body, service)
    events = Events()

    def tell(step: str) -> None:
        events.put(event("progress", {"step": step}))

    running = service.runs.start(owner, partial(_work, name, given, owner, service, tell))
    return EventStream(
        running,
        events,
        lambda: last_event(running, lambda values: values),
        heartbeat=service.settings.serve.heartbeat_seconds,
    )


def job_of(name: str, body: WorkerBody, service: Service) -> dict[str, Any]:
    """A job as the worker's graph takes it.

    Raises:
        InputError: naming what cannot be used.
        Problem: if there is no such worker, or it asks people.
    """
    worker = service.worker(name)
    if worker.asks_people:
        raise conflict(
            "The worker asks people",
            "An answer may have to be waited for on a thread: name it in a plan of POST /threads/{id}/runs.",
        )
    given: dict[str, Any] = {"instruction": body.instruction, "inputs": body.inputs}
    given["documents"] = documents_of(body.documents)
    if body.tier is not None:
        try:
            service.probed.ladder.tier(body.tier)
        except ConfigurationError as error:
            raise InputError(f"tier: {error}") from None
        given["tier"] = body.tier
    return given


def traced_as(owner: str) -> RunnableConfig:
    """No thread that could be asked for, but a name under which an attempt's trace is the owner's."""
    return {"configurable": {"thread_id": inner(owner, f"worker-{secrets.token_hex(16)}")}}


async def _work(
    name: str, given: dict[str, Any], owner: str, service: Service, tell: Callable[[str], None]
) -> dict[str, Any]:
    await service.probed.find_out(lambda line: None)
    values: dict[str, Any] = {}
    stream = service.worker_graph(name).astream(given, traced_as(owner), stream_mode=["updates", "values"])
    async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as chunks:
        async for mode, chunk in chunks:
            if mode == "values":
                values = chunk
            else:
                for step in chunk:
                    tell(step)
    return {"worker": name, **{key: values.get(key) for key in _OUTPUT}}
