"""The application under uvicorn, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from stellwerk.serving.app import create_app
from stellwerk.serving.collector import settle
from stellwerk.serving.door import check_exposure
from stellwerk.settings import Settings

_MARGIN = 10.0  # seconds, after `grace_seconds`, for stopped runs to be let go and told of


class Server(uvicorn.Server):
    """A server that tells its application of a signal at once: running requests would hold up its end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, alone: bool = False) -> None:
        super().__init__(config)
        self._app = app
        self._alone = alone
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As that of uvicorn."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._alone:
            settle()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As that of uvicorn."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.state.runs.close)


def server_of(settings: Settings, *, alone: bool = False) -> Server:
    """A server of the application, to be run.

    Args:
        settings: of whom it serves, and with what.
        alone: whether its process does nothing else, so that garbage is collected as suits it.

    Raises:
        ConfigurationError: if others could reach it without a key or a token, or settings cannot be used.
    """
    serve = settings.serve
    check_exposure(serve)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=serve.host,
        port=serve.port,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=int(serve.grace_seconds + _MARGIN),
        proxy_headers=False,  # or a header would say where a request comes from
        server_header=False,
    )
    return Server(config, app, alone=alone)
