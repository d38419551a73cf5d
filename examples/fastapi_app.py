"""The orchestrator inside a FastAPI application of your own: who wrote these letters, and from where?

    stellwerk models pull smollm2-135m
    uvicorn --app-dir examples fastapi_app:app

It needs `pip install 'stellwerk[embedded,serve]'`. A batch of letters is a thread in a SQLite file: it can be
looked at later, and resumed after a crash. Nobody is asked who they are, so put authentication in front.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field

from stellwerk import (
    AsyncSQLAlchemySaver,
    Brief,
    Example,
    create_orchestrator,
    create_worker,
    embedded_ladder,
)

DATABASE = os.environ.get("BATCHES_DATABASE", "batches.sqlite")  # or postgresql://..., mysql://...


class Contact(BaseModel):
    name: str
    city: str


def both_are_in_the_letter(contact: Contact, brief: Brief) -> str | None:
    missing = [word for word in (contact.name, contact.city) if word not in brief.instruction]
    return f"{missing[0]!r} is not in the letter; copy name and city from it" if missing else None


contact = create_worker(
    "contact",
    output=Contact,
    prompt="Who writes, and from which city?",
    examples=[
        Example(
            instruction="Ada Berg from Oslo asks for a catalogue.",
            answer={"name": "Ada Berg", "city": "Oslo"},
        ),
        Example(
            instruction="Good morning! I am Tom Hill, and I live in Leeds.",
            answer={"name": "Tom Hill", "city": "Leeds"},
        ),
    ],
    checks=[both_are_in_the_letter],
    max_tokens=40,
)
# With a larger model as a second tier, such as "qwen2.5-coder-0.5b", what the check rejects moves up to it.
reader = create_orchestrator([contact], embedded_ladder(["smollm2-135m"]), synthesizer="join")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The database is opened once, and closed when the server ends."""
    async with AsyncSQLAlchemySaver.from_url(DATABASE) as saver:
        app.state.graph = reader.compile(checkpointer=saver)
        yield


app = FastAPI(title="Contacts", lifespan=lifespan)


class Batch(BaseModel):
    letters: list[str] = Field(min_length=1, max_length=20)


class Found(BaseModel):
    """What came of a batch. `missing` has the reason for each letter without a contact."""

    id: str
    contacts: dict[str, Contact]
    missing: dict[str, str]
    usd: float


def given(batch: Batch) -> dict[str, Any]:
    """A plan that is given needs no planner: a subtask for each letter, and they run side by side."""
    subtasks = [
        {"id": f"letter-{number}", "worker": "contact", "instruction": letter}
        for number, letter in enumerate(batch.letters, 1)
    ]
    return {"task": "Read the letters.", "plan": {"subtasks": subtasks}}


def thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


def found(name: str, state: dict[str, Any]) -> Found:
    accepted = {key: each for key, each in state["results"].items() if each["status"] == "accepted"}
    return Found(
        id=name,
        contacts={key: Contact.model_validate(each["value"]) for key, each in accepted.items()},
        missing=state["failure"]["missing"] if state["failure"] else {},
        usd=state["ledger"]["total"]["usd"],
    )


@app.post("/batches")
async def read(batch: Batch) -> Found:
    """Read the letters, and answer when all of them are read."""
    name = uuid4().hex
    return found(name, await app.state.graph.ainvoke(given(batch), thread(name)))


@app.post("/batches/stream")
async def follow(batch: Batch) -> StreamingResponse:
    """Read the letters, and tell of each as soon as it is read, as server-sent events."""
    return StreamingResponse(
        events(uuid4().hex, batch), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def events(name: str, batch: Batch) -> AsyncIterator[str]:
    """A client that goes away ends the run; what was read is kept, and `resume` reads the rest."""
    # Without subgraphs, LangGraph tells of all letters when the last is read.
    stream = app.state.graph.astream(
        given(batch), thread(name), stream_mode=["updates", "values"], subgraphs=True
    )
    state: dict[str, Any] = {}
    yield event("batch", {"id": name})
    async for inside, mode, told in stream:
        if inside:  # a step of one letter
            continue
        if mode == "values":
            state = told
        elif result := told.get("run_subtask"):
            told = {key: result[key] for key in ("id", "status", "value")}
            yield event("letter", {**told, "tiers": [each["tier"] for each in result["attempts"]]})
    yield event("done", found(name, state).model_dump())


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


@app.get("/batches/{name}")
async def look(name: str) -> Found:
    """What came of a batch before, out of the database."""
    state = (await app.state.graph.aget_state(thread(name))).values
    if "ledger" not in state:
        raise HTTPException(404, f"there is no finished batch {name!r}")
    return found(name, state)


@app.post("/batches/{name}/resume")
async def resume(name: str) -> Found:
    """Read what is left of a batch that broke off."""
    if not (await app.state.graph.aget_state(thread(name))).next:
        raise HTTPException(404, f"there is no unfinished batch {name!r}")
    return found(name, await app.state.graph.ainvoke(None, thread(name)))
