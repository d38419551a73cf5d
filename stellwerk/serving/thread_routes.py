"""The orchestrator on threads that outlive the process."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from stellwerk.graphs.session import Session, Values, ended
from stellwerk.persistence.run_units import Run
from stellwerk.serving.answers import check_waits, decided
from stellwerk.serving.bodies import FeedbackBody, ResumeBody, RunBody
from stellwerk.serving.door import Owner
from stellwerk.serving.event_stream import EVENTS, Events, EventStream, Told, last_event
from stellwerk.serving.problem import Problem, conflict
from stellwerk.serving.running import outcome
from stellwerk.serving.service import Service, TheService, unfinished

router = APIRouter(tags=["threads"])

Work = Callable[[Callable[[str], None] | None], Coroutine[Any, Any, Values]]


@router.post("/threads", status_code=201)
async def make_thread(owner: Owner, service: TheService) -> dict[str, Any]:
    """Make a thread; its id is the server's."""
    return {"id": await service.threads.make(owner)}


@router.get("/threads")
async def list_threads(
    owner: Owner,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> dict[str, Any]:
    """Your threads, newest first."""
    return {"threads": await service.threads.listed(owner, limit=limit, offset=offset)}


@router.get("/threads/{thread}")
async def show_thread(thread: str, owner: Owner, service: TheService) -> Response:
    """Where a thread stands: its answer, or what it asks."""
    inner = await service.threads.inner(owner, thread)
    session = service.session_on(inner)
    runs = await service.records.list(thread_id=inner, limit=1)
    values, waits = await session.state()
    run = _plain(runs[0]) if runs else None
    if runs and runs[0].status == "running":
        return _json({"thread": thread, "status": "running", "run": run})
    if waits:
        asked = [] if runs and runs[0].error else await session.questions()
        state = ended(thread, values, asked) if asked else {"thread": thread, "status": "interrupted"}
        return _json({**state, "run": run})
    if not values:
        return _json({"thread": thread, "status": "interrupted" if runs else "new", "run": run})
    return _json({**ended(thread, values, ()), "run": run})


@router.delete("/threads/{thread}", status_code=204)
async def delete_thread(thread: str, owner: Owner, service: TheService) -> Response:
    """Delete a thread with its checkpoints and the list of its runs."""
    inner = await service.threads.inner(owner, thread)
    if not await service.threads.delete(owner, thread):
        await service.session_on(inner).check_free()
        raise conflict("The thread is running", "Stop it with POST /threads/{id}/cancel, then delete it.")
    return Response(status_code=204)


@router.post("/threads/{thread}/runs")
async def run(thread: str, body: RunBody, request: Request, owner: Owner, service: TheService) -> Response:
    """Do a task, and wait for what comes of it; 202 if it waits for a person."""
    session = await service.session(owner, thread)
    return await _invoked(thread, session, _starting(session, service.given(body)), request, owner, service)


@router.post("/threads/{thread}/runs/stream", response_class=Response, responses=EVENTS)
async def stream(thread: str, body: RunBody, owner: Owner, service: TheService) -> Response:
    """Do a task, and tell how it goes."""
    session = await service.session(owner, thread)
    work = _starting(session, service.given(body))
    await session.check_free()
    if (await session.state())[1]:
        raise unfinished()
    return _streamed(thread, session, work, owner, service)


@router.post("/threads/{thread}/resume")
async def resume(
    thread: str, request: Request, owner: Owner, service: TheService, body: ResumeBody | None = None
) -> Response:
    """Go on where a run was broken off, or with answers to its questions."""
    session = await service.session(owner, thread)
    work = await _resuming(session, body)
    return await _invoked(thread, session, work, request, owner, service)


@router.post("/threads/{thread}/resume/stream", response_class=Response, responses=EVENTS)
async def resume_stream(
    thread: str, owner: Owner, service: TheService, body: ResumeBody | None = None
) -> Response:
    """As `resume`, and tell how it goes."""
    session = await service.session(owner, thread)
    return _streamed(thread, session, await _resuming(session, body), owner, service)


@router.post("/threads/{thread}/cancel", status_code=202)
async def cancel(thread: str, owner: Owner, service: TheService) -> dict[str, Any]:
    """Ask the run of a thread to end, in whichever process it is; it can be resumed."""
    inner = await service.threads.inner(owner, thread)
    running = await service.records.list(thread_id=inner, status="running", limit=1)
    asked = await service.records.request_cancel(running[0].run_id) if running else None
    if asked is None or asked.status != "running":
        raise conflict("The thread is not running", "There is nothing to cancel; GET /threads/{id} shows it.")
    return {"thread": thread, "status": "cancelling"}


@router.post("/threads/{thread}/feedback", status_code=201)
async def feedback(thread: str, body: FeedbackBody, owner: Owner, service: TheService) -> dict[str, Any]:
    """Say what you think of the newest run of a thread, or of one of its subtasks."""
    inner = await service.threads.inner(owner, thread)
    runs = [run async for run in service.traces.aruns(thread_id=inner, limit=1)]
    if not runs:
        raise conflict("The thread has no run yet", "Give feedback once POST /threads/{id}/runs has ended.")
    about = run_id = runs[0]["run_id"]
    if body.subtask is not None:
        made = service.traces.abare_attempts(thread_id=inner, run_id=run_id)
        attempts = [one async for one in made if one["subtask"] == body.subtask]
        if not attempts:
            raise Problem(
                404, "No such subtask", "The newest run of the thread has no attempt at it; see its results."
            )
        # What was served, or else the last that was tried.
        about = next((one for one in attempts if one["accepted"]), attempts[0])["trace_id"]
    await service.traces.aadd_feedback(
        about,
        score=body.score,
        label=body.label,
        comment=body.comment,
        who=owner,
        source="person",
        thread_id=inner,
    )
    return {"thread": thread, "about": "run" if body.subtask is None else body.subtask}


def _starting(session: Session, given: dict[str, Any]) -> Work:
    return lambda say: session.start(given, say, unfinished=unfinished())


async def _resuming(session: Session, body: ResumeBody | None) -> Work:
    await check_waits(session)
    given = body.answers if body is not None else {}
    answers = decided(given, await session.questions()) if given else {}
    return lambda say: session.resume(say, answers)


async def _invoked(
    thread: str, session: Session, work: Work, request: Request, owner: str, service: Service
) -> Response:
    running = service.runs.start(owner, partial(work, None))
    values = await outcome(request, running)
    return _json(ended(thread, values, session.asked), 202 if session.asked else 200)


def _streamed(thread: str, session: Session, work: Work, owner: str, service: Service) -> EventStream:
    events = Events()
    running = service.runs.start(owner, partial(work, Told(session.progress, events)))
    return EventStream(
        running,
        events,
        lambda: last_event(running, lambda values: ended(thread, values, session.asked)),
        heartbeat=service.settings.serve.heartbeat_seconds,
    )


def _plain(run: Run) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "status": run.status,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at and run.ended_at.isoformat(),
        "cancel_requested": run.cancel_requested,
        "totals": run.totals,
    }


def _json(values: Mapping[str, Any], status: int = 200) -> Response:
    # A tool may ask in words of its own, which need not be JSON.
    return Response(json.dumps(values, default=str), status, media_type="application/json")
