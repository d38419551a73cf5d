"""The orchestrator as OpenAI's chat API has it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from stellwerk.errors import InputError
from stellwerk.graphs.session import Session, Values
from stellwerk.serving import problem
from stellwerk.serving.bodies import ChatBody, DocumentBody, RunBody
from stellwerk.serving.door import Owner
from stellwerk.serving.event_stream import EVENTS, Events, EventStream
from stellwerk.serving.problem import Documented, Problem, conflict
from stellwerk.serving.running import Running, outcome
from stellwerk.serving.service import TheService, unfinished

router = APIRouter(prefix="/v1", tags=["openai"])

MODEL = "stellwerk"
_EITHER: Documented = {
    200: {
        "description": "The answer, or with `stream` its chunks.",
        "content": {"application/json": {}, **EVENTS[200]["content"]},
    }
}
_CREATED = 1_767_225_600  # of the only model; the API wants a moment


@router.get("/models")
async def models(owner: Owner) -> dict[str, Any]:
    """The one model: the orchestrator."""
    return {"object": "list", "data": [_model()]}


@router.get("/models/{name}")
async def model(name: str, owner: Owner) -> dict[str, Any]:
    """The model of that name."""
    _check_model(name)
    return _model()


@router.post("/chat/completions", responses=_EITHER)
async def complete(body: ChatBody, request: Request, owner: Owner, service: TheService) -> Response:
    """Do what the last message says, on a thread of its own, which the id of the answer ends with."""
    _check_model(body.model)
    given = service.given(_given(body))
    service.runs.check(owner)  # before there is a thread for nothing
    thread = await service.threads.make(owner)
    session = await service.session(owner, thread)
    events = Events()
    work = partial(session.start, given, None, unfinished=unfinished())
    running = service.runs.start(owner, work)
    about = {"id": f"chatcmpl-{thread}", "created": int(time.time()), "model": MODEL}
    if not body.stream:
        try:
            values = await outcome(request, running)
            answer = _answer(values, session, thread)
        except Exception as error:
            found = problem.of(error)
            found.more["thread"] = thread
            raise found from error
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(
            {**about, "object": "chat.completion", "choices": [choice], "usage": _usage(values)}
        )
    usage = body.stream_options is not None and body.stream_options.include_usage
    about["object"] = "chat.completion.chunk"
    events.put(_chunk(about, {"role": "assistant", "content": ""}))
    return EventStream(
        running,
        events,
        lambda: _last(running, session, thread, about, usage=usage),
        heartbeat=service.settings.serve.heartbeat_seconds,
    )


def _given(body: ChatBody) -> RunBody:
    """The last message is the task, and those before it are a document."""
    *before, last = body.messages
    if last.role != "user" or not last.text.strip():
        raise InputError("messages: the last one says what to do; end with a text of role 'user'")
    text = "\n\n".join(f"{message.role}: {message.text}" for message in before)
    return RunBody(task=last.text, documents=[DocumentBody(name="conversation", text=text)] if before else [])


def _last(
    running: Running[Values], session: Session, thread: str, about: dict[str, Any], *, usage: bool
) -> Iterable[bytes]:
    try:
        values = running.result()
        yield _chunk(about, {"content": _answer(values, session, thread)})
    except Exception as error:
        found = problem.of(error)
        yield _data({"error": {"message": found.detail, "type": "server_error", "code": found.status}})
        return
    yield _chunk(about, {}, finish="stop")
    if usage:
        yield _data({**about, "choices": [], "usage": _usage(values)})
    yield b"data: [DONE]\n\n"


def _answer(values: Values, session: Session, thread: str) -> str:
    if session.asked:
        raise conflict(
            "The run waits for a person",
            f"Its questions are at GET /threads/{thread}, and are answered at POST /threads/{thread}/resume.",
        )
    return str(values["answer"])


def _usage(values: Values) -> dict[str, Any]:
    total = values["ledger"]["total"]
    return {
        "prompt_tokens": total["input"],
        "completion_tokens": total["output"],
        "total_tokens": total["input"] + total["output"],
        "prompt_tokens_details": {"cached_tokens": total["cached"]},
    }


def _chunk(about: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _data({**about, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _data(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _check_model(name: str) -> None:
    if name != MODEL:
        raise Problem(404, "No such model", f"There is one model, {MODEL!r}; see GET /v1/models.")


def _model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "stellwerk"}
