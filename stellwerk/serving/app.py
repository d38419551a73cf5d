"""The application: `create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from stellwerk.errors import MissingExtraError, StellwerkError
from stellwerk.serving import chat_routes, health_routes, thread_routes, worker_routes
from stellwerk.serving.body_limit import BodyLimit
from stellwerk.serving.door import Door
from stellwerk.serving.problem import RUN_PROBLEMS, Problem, documented, problem_response
from stellwerk.serving.report_page import mount_report
from stellwerk.serving.running import Runs
from stellwerk.serving.service import open_service
from stellwerk.settings import ServingSettings, Settings
from stellwerk.tiers.ladder import Ladder


def create_app(settings: Settings | None = None, *, ladder: Ladder | None = None) -> FastAPI:
    """Stellwerk's graphs as an ASGI application.

    The database is opened, and the graphs are built, when it starts up. `app.state.runs.close()` lets it
    wind down: nothing new is taken, and what runs is stopped after `serve.grace_seconds`.

    Args:
        settings: `Settings.load()` if None.
        ladder: the configured one if None.

    Raises:
        ConfigurationError: if keys or tokens are declared and cannot be checked.
        MissingExtraError: if a package is not installed.
    """
    chosen = settings or Settings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(chosen, ladder, app.state.runs) as service:
            app.state.service = service
            if report is not None:
                report.open(service.traces)
            yield

    # No pages that load scripts from elsewhere; /openapi.json has the same.
    app = FastAPI(
        title="Stellwerk", version=version("stellwerk"), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.door = Door(chosen.serve)
    app.state.runs = Runs(chosen.serve)
    report = mount_report(app, app.state.door)
    for routes in (thread_routes, worker_routes, chat_routes):
        app.include_router(routes.router, responses=RUN_PROBLEMS)
    app.include_router(health_routes.router, responses=documented(413, 415, 500))
    if _with_langserve(chosen.serve):
        from stellwerk.serving.langserve.routes import add_langserve

        add_langserve(app, playground=chosen.serve.playground)
    app.add_middleware(BodyLimit, most=chosen.serve.max_body_bytes)
    for kind in (Problem, RequestValidationError, HTTPException, StellwerkError, Exception):
        app.add_exception_handler(kind, problem_response)
    return app


def _with_langserve(serving: ServingSettings) -> bool:
    missing = [name for name in ("langserve", "sse_starlette") if find_spec(name) is None]
    if missing and serving.langserve:
        raise MissingExtraError(missing[0], "langserve")
    return not missing and serving.langserve is not False
