"""Errors as clients see them: problem details after RFC 9457."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from stellwerk.errors import DatabaseError, InputError, LeaseError, RunCancelledError
from stellwerk.serving.browser import shows_page

Documented = dict[int | str, dict[str, Any]]
"""Responses of a route, as FastAPI takes them."""
_FORM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong, after RFC 9457; there may be further members.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The same for all problems of this kind."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong here, and the remedy."},
    },
    "required": ["type", "title", "status", "detail"],
}
_log = logging.getLogger(__name__)
_GO_ON = (
    "What is done is kept, and POST /threads/{id}/resume goes on; where that says that nothing waits, "
    "nothing was begun, and the task is to be sent again."
)


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """What went wrong, and what to do about it.

    Args:
        status: of HTTP.
        title: the same for all problems of this kind.
        detail: what is wrong here, and the remedy.
        headers: of the response.
        more: further members.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }

    def response(self, path: str = "") -> JSONResponse:
        """As a response; one of OpenAI's API also has what its clients look for."""
        body = self.plain()
        if path.startswith("/v1/"):
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
            body["error"] = {"message": self.detail, "type": kind, "param": None, "code": None}
        return JSONResponse(body, self.status, headers=self.headers, media_type="application/problem+json")


def documented(*statuses: int) -> Documented:
    """Problems that a route may answer with, by their statuses."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _FORM}},
        }
        for status in statuses
    }


RUN_PROBLEMS = documented(400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503, 504)
"""Of what only an owner may do."""


def conflict(title: str, detail: str) -> Problem:
    """The thread is in no state for that."""
    return Problem(409, title, detail)


def late(seconds: float) -> Problem:
    """The run took longer than a request may."""
    return Problem(
        504,
        "The run is not done in time",
        f"A request may run for {seconds:g} s. {_GO_ON}",
        more={"run": "interrupted"},
    )


def closing() -> Problem:
    """The server ends."""
    return Problem(
        503,
        "The server is shutting down",
        f"Try again in a few seconds. {_GO_ON}",
        headers={"Retry-After": "5"},
        more={"run": "interrupted"},
    )


def gone() -> Problem:
    """The client went away; nobody reads this but the log."""
    return Problem(499, "The client is gone", f"The run was stopped. {_GO_ON}")


def of(error: BaseException) -> Problem:
    """What a client is told of an error; of what is not its own doing, no more than that it happened."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid(error)
        case InputError():
            return Problem(422, "The input cannot be used", str(error))
        case RunCancelledError():
            return conflict("The run was cancelled", f"Somebody asked for it. {_GO_ON}")
        case LeaseError():
            return conflict("The thread was taken over", f"Another process runs it now. {_GO_ON}")
        case DatabaseError():
            _log.error("the database failed: %s", error)
            return Problem(
                503,
                "The database failed",
                f"Try again in a few seconds; the server's log says why. {_GO_ON}",
                headers={"Retry-After": "5"},
            )
        case _:
            _log.error("a run failed", exc_info=error)
            return Problem(
                500, "The run failed", f"The server's log says why. {_GO_ON}", more={"run": "interrupted"}
            )


async def problem_response(request: Request, error: Exception) -> Response:
    """For whatever a route raises; a person in front of a page is told in words."""
    if isinstance(error, HTTPException):
        found = Problem(
            error.status_code,
            HTTPStatus(error.status_code).phrase,
            f"{request.method} {request.url.path}: {error.detail}; see /openapi.json for what there is",
            headers=error.headers,
        )
    else:
        found = of(error)
    if shows_page(request.method, request.scope["path"], request.headers):
        return PlainTextResponse(f"{found.title}\n\n{found.detail}\n", found.status, headers=found.headers)
    return found.response(request.url.path)


def _invalid(error: RequestValidationError) -> Problem:
    # What was found there is not repeated: it may be anything.
    wrong = []
    for each in error.errors():
        at = ".".join(str(part) for part in each["loc"][1:]) or "the body"
        what = str(each["msg"]).removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            what = "there is no such key; leave it out"
        wrong.append({"at": at, "what": what})
    said = "; ".join(f"{each['at']}: {each['what']}" for each in wrong[:5])
    return Problem(
        422,
        "The request cannot be used",
        f"{said}. See /openapi.json for its form.",
        more={"errors": wrong[:50]},
    )
