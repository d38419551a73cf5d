"""Whether the server is up, and what it counts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from stellwerk.serving.door import Owner
from stellwerk.serving.problem import Problem, documented
from stellwerk.serving.service import TheService

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthy() -> dict[str, Any]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "What is missing."}})
async def ready(service: TheService) -> JSONResponse:
    """Whether a run could begin: the database and a tier are there, and the server is not shutting down."""
    found = await service.ready()
    good = all(found.values())
    return JSONResponse({"status": "ready" if good else "not ready", **found}, 200 if good else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=documented(401, 403, 404),
)
async def metrics(owner: Owner, service: TheService) -> Response:
    """What runs did, as Prometheus reads it."""
    if not service.settings.observability.prometheus:
        raise Problem(
            404,
            "No metrics are kept",
            "Set observability.prometheus to true (extra metrics), and start again.",
        )
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
