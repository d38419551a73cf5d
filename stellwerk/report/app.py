"""The report as an application, to be mounted in another: `app.mount("/report", report_app(traces))`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stellwerk.errors import InputError, MissingExtraError, StellwerkError
from stellwerk.persistence import report_units as units
from stellwerk.persistence.report_units import Selection, Visible
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.overview import WAIT, overview
from stellwerk.report.page import served_overview, served_run, static
from stellwerk.report.records import Overview, RunLine, RunView, plain
from stellwerk.report.router import RouterView, router_view
from stellwerk.report.run import run_view
from stellwerk.report.thread_names import ThreadNames

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError(error.name or "starlette", "report") from None

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PERIODS: Mapping[str, timedelta | None] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)
_ROUTER_FOR = 300.0  # seconds for which what was worked out of a router is shown again

May = Callable[[Request], Visible | None]
Page = Callable[[Request], Response]


def report_app(
    traces: TraceStore,
    *,
    visible: May | None = None,
    contents: bool = False,
    router: bool = True,
    limit: int = 200,
    names: ThreadNames | None = None,
) -> Starlette:
    """An ASGI application with the report on a trace store, to be mounted in Starlette or FastAPI.

    It only reads, and asks nobody who they are: that is for the application around it. Its paths are `/`,
    `/run?run=...&thread=...`, `/report.json`, `/run.json`, `/pulse.json` and `/static/...`; they are meant to
    be reached with a slash at the end of where it is mounted.

    Args:
        traces: to read from; it stays open.
        visible: for each request, which rows may be seen, such as `threads_of("ada:")`; None, or a function
            that gives None, for all. Who sees some rows only is not shown the router, which learned from all.
        contents: whether tasks, prompts, answers and errors are shown.
        router: whether the router of the registry is shown. That takes seconds every 5 minutes.
        limit: so many of the newest runs are listed.
        names: how threads are called for each request; as in the database if None.

    Raises:
        MissingExtraError: if Jinja2 is not installed.
    """
    served_style, served_script = static("report.css"), static("report.js")
    routers, called = _Routers(traces), names or ThreadNames()

    def allowed(request: Request) -> Visible | None:
        return None if visible is None else visible(request)

    def chosen(request: Request) -> tuple[Selection, str]:
        period = request.query_params.get("since", "7d")
        if period not in PERIODS:
            raise InputError(f"since is {period!r}; use {', '.join(PERIODS)}")
        length = PERIODS[period]
        since = None if length is None else datetime.now(UTC) - length
        return Selection(since=since, visible=allowed(request)), period

    def named(request: Request, run: RunLine) -> RunLine:
        return replace(run, thread_id=called.shown(request, run.thread_id))

    def all_of(request: Request, selection: Selection) -> Overview:
        found = overview(
            traces, since=selection.since, visible=selection.visible, limit=limit, contents=contents
        )
        return replace(found, runs=[named(request, run) for run in found.runs])

    def which(request: Request) -> tuple[str | None, str | None]:
        asked = request.query_params
        thread = asked.get("thread")
        return asked.get("run"), None if thread is None else called.meant(request, thread)

    def one(request: Request) -> RunView | None:
        run_id, thread_id = which(request)
        view = run_view(traces, run_id, thread_id=thread_id, visible=allowed(request), contents=contents)
        return view and replace(view, run=named(request, view.run))

    def pulse_of(selection: Selection) -> str:
        traces.flush(WAIT)
        return traces.database.read(lambda c: units.pulse(c, selection))

    def pulse_of_run(request: Request) -> str | None:
        traces.flush(WAIT)
        chosen, (run_id, thread_id) = Selection(visible=allowed(request)), which(request)
        return traces.database.read(lambda c: units.run_pulse(c, chosen, run_id, thread_id))

    def index(request: Request) -> Response:
        selection, period = chosen(request)
        pulse, found = pulse_of(selection), all_of(request, selection)
        shown = routers.get() if router and selection.visible is None else None
        return HTMLResponse(served_overview(found, shown, pulse=pulse, period=period))

    def run(request: Request) -> Response:
        pulse, view = pulse_of_run(request), one(request)  # in this order, so that nothing new is missed
        return _missing() if view is None else HTMLResponse(served_run(view, pulse=pulse or ""))

    def data(request: Request) -> Response:
        return JSONResponse(plain(all_of(request, chosen(request)[0])))

    def run_data(request: Request) -> Response:
        view = one(request)
        return _missing() if view is None else JSONResponse(plain(view))

    def pulse(request: Request) -> Response:
        if request.query_params.keys() & {"run", "thread"}:
            found = pulse_of_run(request)
            return _missing() if found is None else JSONResponse({"pulse": found})
        return JSONResponse({"pulse": pulse_of(chosen(request)[0])})

    def style(request: Request) -> Response:
        return Response(served_style, media_type="text/css")

    def script(request: Request) -> Response:
        return Response(served_script, media_type="text/javascript")

    pages: Mapping[str, Page] = {
        "/": index,
        "/run": run,
        "/report.json": data,
        "/run.json": run_data,
        "/pulse.json": pulse,
        "/static/report.css": style,
        "/static/report.js": script,
    }
    return Starlette(routes=[Route(path, _guarded(page)) for path, page in pages.items()])


class _Routers:
    """The router, worked out again every few minutes, and by one request at a time."""

    def __init__(self, traces: TraceStore) -> None:
        self._traces = traces
        self._until = 0.0
        self._found: RouterView | None = None

    def get(self) -> RouterView | None:
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + _ROUTER_FOR  # first, so that others do not begin as well
            self._found = router_view(self._traces)
        return self._found


def _guarded(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """The page in a thread, as it waits for the database; errors in words, and headers on all of it."""

    async def answer(request: Request) -> Response:
        try:
            response = await asyncio.to_thread(page, request)
        except InputError as error:
            response = PlainTextResponse(f"{error}\n", 400)
        except StellwerkError:
            response = PlainTextResponse("the report cannot be read now; see the log\n", 503)
            _log.warning("the report cannot be read", exc_info=True)
        response.headers.update(_HEADERS)
        return response

    return answer


def _missing() -> Response:
    return PlainTextResponse("there is no such run\n", 404)
