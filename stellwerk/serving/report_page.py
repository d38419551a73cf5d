"""The report under `/report`: to each owner what ran on their threads."""

from __future__ import annotations

import asyncio
import logging
from importlib.util import find_spec

from sqlalchemy import or_
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stellwerk.persistence.owned import LOCAL, threads_noted
from stellwerk.persistence.report_units import Visible, threads_of
from stellwerk.persistence.traces import TraceStore
from stellwerk.serving.door import Door
from stellwerk.serving.threads import inner, is_id, scope_of

PATH = "/report"
_OWNER = "stellwerk.owner"  # in an ASGI scope
_log = logging.getLogger(__name__)


class ReportPage:
    """An ASGI application, to be mounted; it answers once it is told of the traces."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._app: ASGIApp | None = None

    def open(self, traces: TraceStore) -> None:
        """Show these."""
        from stellwerk.report.app import report_app
        from stellwerk.report.thread_names import ThreadNames

        names = ThreadNames(shown=_shown, meant=_meant)
        self._app = report_app(traces, visible=_visible, contents=True, names=names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application.

        Raises:
            Problem: if it is not told whose request it is.
        """
        assert self._app is not None
        # In a thread, as the file of keys is looked at; no event loop of LangGraph's server may wait for one.
        owner = await asyncio.to_thread(self._door.owner, Request(scope))
        await self._app({**scope, _OWNER: owner}, receive, send)


def mount_report(app: Starlette, door: Door) -> ReportPage | None:
    """Mount the page, or say what it lacks."""
    if find_spec("jinja2") is None:
        _log.warning("no page at %s: jinja2 is not installed; pip install 'stellwerk[report]'", PATH)
        return None
    page = ReportPage(door)
    app.add_route(PATH, _with_slash, include_in_schema=False)
    app.mount(PATH, page)
    return page


async def _with_slash(request: Request) -> Response:
    # Relative, as a proxy in front may have another scheme, and the page another path.
    return RedirectResponse(PATH[1:] + "/")


def _owner(request: Request) -> str:
    owner: str = request.scope[_OWNER]
    return owner


def _visible(request: Request) -> Visible | None:
    # Where nobody says who they are, all of the database is of whoever is on this machine.
    if (owner := _owner(request)) == LOCAL:
        return None
    served, noted = threads_of(scope_of(owner)), threads_noted(owner)
    return lambda table: or_(served(table), noted(table))


def _shown(request: Request, thread: str) -> str:
    return thread.removeprefix(scope_of(_owner(request)))


def _meant(request: Request, name: str) -> str:
    return inner(_owner(request), name) if is_id(name) else name
