"""LangServe's routes."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, Response

from stellwerk.serving.event_stream import EVENTS
from stellwerk.serving.langserve.asking import OfOrchestrator, OfWorker, hashed
from stellwerk.serving.langserve.bodies import Answer, Answers, BatchBody, EventsBody, OneBody
from stellwerk.serving.langserve.given import OrchestratorGiven, WorkerGiven
from stellwerk.serving.langserve.handlers import Handlers
from stellwerk.serving.problem import RUN_PROBLEMS, Documented

orchestrator, orchestrator_page = APIRouter(), APIRouter()
worker, worker_page = APIRouter(), APIRouter()

_SCHEMA: Documented = {200: {"description": "A JSON schema."}}


def add_langserve(app: FastAPI, *, playground: bool) -> None:
    """Add the routes, each also with a config in its path.

    Args:
        app: that of `create_app`.
        playground: whether the page is served.
    """
    app.state.langserve = Handlers()
    for prefix, routes, page in (
        ("/orchestrator", orchestrator, orchestrator_page),
        ("/workers/{name}", worker, worker_page),
    ):
        for router in (routes, page) if playground else (routes,):
            app.include_router(router, prefix=prefix, tags=["langserve"], responses=RUN_PROBLEMS)
            app.include_router(
                router,
                prefix=f"{prefix}/c/{{config_hash}}",
                tags=["langserve, with a config"],
                responses=RUN_PROBLEMS,
                dependencies=[Depends(hashed)],
            )


@orchestrator.post("/invoke", response_model=Answer)
async def invoke(body: OneBody[OrchestratorGiven], asking: OfOrchestrator) -> Response:
    """Do a task, or go on with one, and wait for what comes of it."""
    return await asking.invoke(body)


@orchestrator.post("/batch", response_model=Answers)
async def batch(body: BatchBody[OrchestratorGiven], asking: OfOrchestrator) -> Response:
    """Do several tasks, and wait for what comes of all."""
    return await asking.batch(body)


@orchestrator.post("/stream", responses=EVENTS, response_class=Response)
async def stream(body: OneBody[OrchestratorGiven], asking: OfOrchestrator) -> Response:
    """Do a task, and tell what each step gave; the last of `data` is as of invoke."""
    return await asking.stream(body)


@orchestrator.post("/stream_log", responses=EVENTS, response_class=Response)
async def stream_log(body: EventsBody[OrchestratorGiven], asking: OfOrchestrator) -> Response:
    """Do a task, and tell its log, with the prompts, as patches of JSON."""
    return await asking.stream_log(body)


@orchestrator.post("/stream_events", responses=EVENTS, response_class=Response)
async def stream_events(body: EventsBody[OrchestratorGiven], asking: OfOrchestrator) -> Response:
    """Do a task, and tell each event of LangChain's, with the prompts."""
    return await asking.stream_events(body)


@orchestrator.get("/input_schema", responses=_SCHEMA)
async def input_schema(asking: OfOrchestrator) -> Response:
    """What it takes."""
    return await asking.input_schema()


@orchestrator.get("/output_schema", responses=_SCHEMA)
async def output_schema(asking: OfOrchestrator) -> Response:
    """What it gives."""
    return await asking.output_schema()


@orchestrator.get("/config_schema", responses=_SCHEMA)
async def config_schema(asking: OfOrchestrator) -> Response:
    """What can be chosen for a run."""
    return await asking.config_schema()


@orchestrator_page.get("/playground/{file_path:path}", include_in_schema=False)
async def playground(file_path: str, asking: OfOrchestrator) -> Response:
    """The page, and its files."""
    return await asking.playground(file_path)


@worker.post("/invoke", response_model=Answer)
async def invoke_worker(body: OneBody[WorkerGiven], asking: OfWorker) -> Response:
    """Make one attempt at a job, and wait for what comes of it."""
    return await asking.invoke(body)


@worker.post("/batch", response_model=Answers)
async def batch_worker(body: BatchBody[WorkerGiven], asking: OfWorker) -> Response:
    """Make one attempt at each of several jobs."""
    return await asking.batch(body)


@worker.post("/stream", responses=EVENTS, response_class=Response)
async def stream_worker(body: OneBody[WorkerGiven], asking: OfWorker) -> Response:
    """Make one attempt, and tell what each step gave; the last of `data` is as of invoke."""
    return await asking.stream(body)


@worker.post("/stream_log", responses=EVENTS, response_class=Response)
async def stream_log_worker(body: EventsBody[WorkerGiven], asking: OfWorker) -> Response:
    """Make one attempt, and tell its log, with the prompts, as patches of JSON."""
    return await asking.stream_log(body)


@worker.post("/stream_events", responses=EVENTS, response_class=Response)
async def stream_events_worker(body: EventsBody[WorkerGiven], asking: OfWorker) -> Response:
    """Make one attempt, and tell each event of LangChain's, with the prompts."""
    return await asking.stream_events(body)


@worker.get("/input_schema", responses=_SCHEMA)
async def input_schema_of_worker(asking: OfWorker) -> Response:
    """What it takes."""
    return await asking.input_schema()


@worker.get("/output_schema", responses=_SCHEMA)
async def output_schema_of_worker(asking: OfWorker) -> Response:
    """What it gives."""
    return await asking.output_schema()


@worker.get("/config_schema", responses=_SCHEMA)
async def config_schema_of_worker(asking: OfWorker) -> Response:
    """What can be chosen for a run: nothing."""
    return await asking.config_schema()


@worker_page.get("/playground/{file_path:path}", include_in_schema=False)
async def playground_of_worker(file_path: str, asking: OfWorker) -> Response:
    """The page, and its files."""
    return await asking.playground(file_path)
