"""How much a request may bring, and as what."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stellwerk.serving.problem import Problem


class BodyLimit:
    """An ASGI middleware that reads the body, up to a limit, before anything else sees the request.

    Only JSON is taken: a form of a page that a browser shows may be sent anywhere, and JSON may not.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except Problem as found:
            await found.response(scope["path"])(scope, receive, send)
            return
        if body is None:  # the client went away
            return
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            if first is None:
                return await receive()
            message, first = first, None
            return message

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        headers = dict(scope["headers"])
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._most:
            raise self._too_large()
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large()
            more = message.get("more_body", False)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if body and kind != b"application/json":
            raise Problem(
                415, "Only JSON is taken", "Send the body as JSON, with 'Content-Type: application/json'."
            )
        return bytes(body)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "The request is too large",
            f"A body may have {self._most:,} bytes (serve.max_body_bytes); send less.",
        )
