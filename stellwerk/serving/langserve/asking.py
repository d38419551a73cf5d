"""A request to one of LangServe's routes, with all that answers it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from langserve import APIHandler
from starlette.types import Message

from stellwerk.errors import InputError
from stellwerk.serving.door import Owner
from stellwerk.serving.langserve.answer import as_events, at_once
from stellwerk.serving.langserve.bodies import BatchBody, ConfigBody, EventsBody, OneBody
from stellwerk.serving.langserve.chosen import LONGEST_HASH, Chosen, chosen, config_of
from stellwerk.serving.langserve.handlers import Handlers
from stellwerk.serving.langserve.playground import check_file, guarded
from stellwerk.serving.langserve.visit import Visit
from stellwerk.serving.service import Service, TheService


class Asking:
    """A request, and the handler of the graph that it is for.

    LangServe gets neither hash nor config of the client: it would let what is left out of one hide what the
    other chose, drop without a word what cannot be chosen, and fail at a config that is null.
    """

    def __init__(
        self, request: Request, owner: str, service: Service, handler: APIHandler, *, threads: bool
    ) -> None:
        self._request = request
        self._owner = owner
        self._service = service
        self._handler = handler
        self._threads = threads
        hashed = request.path_params.get("config_hash")
        self._hashed: Mapping[str, Any] = {} if hashed is None else config_of(hashed)
        self._chosen([None])  # so that a hash is refused wherever it stands

    async def invoke(self, body: OneBody[Any]) -> Response:
        """What comes of an input."""
        visit = self._visit(body.configs)
        made = self._handler.invoke(await self._handed_on(), server_config=visit.config)
        return await at_once(self._request, visit, made)

    async def batch(self, body: BatchBody[Any]) -> Response:
        """What comes of several inputs."""
        configs = body.configs
        if len(configs) != len(body.inputs):
            raise InputError(
                f"config: there are {len(configs)} for {len(body.inputs)} inputs; give one for each, or one "
                "for all"
            )
        visit = self._visit(configs)
        made = self._handler.batch(await self._handed_on(), server_config=visit.config)
        return await at_once(self._request, visit, made)

    async def stream(self, body: OneBody[Any]) -> Response:
        """What each step gives."""
        visit = self._visit(body.configs)
        made = await self._handler.stream(await self._handed_on(), server_config=visit.config)
        return await as_events(self._request, visit, made)

    async def stream_log(self, body: EventsBody[Any]) -> Response:
        """A log of the run, as it grows."""
        visit = self._visit(body.configs)
        made = await self._handler.stream_log(await self._handed_on(), server_config=visit.config)
        return await as_events(self._request, visit, made)

    async def stream_events(self, body: EventsBody[Any]) -> Response:
        """Each event of the run."""
        visit = self._visit(body.configs)
        made = await self._handler.astream_events(await self._handed_on(), server_config=visit.config)
        return await as_events(self._request, visit, made)

    async def input_schema(self) -> Response:
        """Of what the graph takes."""
        return JSONResponse(await self._handler.input_schema(self._request))

    async def output_schema(self) -> Response:
        """Of what the graph gives."""
        return JSONResponse(await self._handler.output_schema(self._request))

    async def config_schema(self) -> Response:
        """Of what can be chosen."""
        return JSONResponse(await self._handler.config_schema(self._request))

    async def playground(self, path: str) -> Response:
        """The page, or a file of it."""
        check_file(path)
        response: Response = await self._handler.playground(path, self._request)
        return guarded(response)

    async def _handed_on(self) -> Request:
        """The request as LangServe sees it: without a config, and with its `server_config` in its place."""
        given = await self._request.json()
        body = json.dumps({name: value for name, value in given.items() if name != "config"}).encode()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return Request(self._request.scope, receive)

    def _visit(self, configs: Sequence[ConfigBody | None]) -> Visit:
        return Visit(self._owner, self._service, self._chosen(configs))

    def _chosen(self, configs: Sequence[ConfigBody | None]) -> list[Chosen]:
        found = []
        first: dict[str, int] = {}
        for number, config in enumerate(configs):
            told = {} if config is None else {"configurable": config.configurable}
            made = chosen([self._hashed, told], threads=self._threads)
            if made.thread is not None and first.setdefault(made.thread, number) != number:
                raise InputError(
                    f"config: inputs {first[made.thread]} and {number} name one thread, which has one run "
                    "at a time; give each its own, or leave them out"
                )
            found.append(made)
        return found


async def of_orchestrator(request: Request, owner: Owner, service: TheService) -> Asking:
    """A request to the orchestrator, for routes to depend on."""
    handlers: Handlers = request.app.state.langserve
    return Asking(request, owner, service, handlers.orchestrator(service), threads=True)


async def of_worker(name: str, request: Request, owner: Owner, service: TheService) -> Asking:
    """A request to a worker, for routes to depend on."""
    handlers: Handlers = request.app.state.langserve
    return Asking(request, owner, service, handlers.worker(service, name), threads=False)


async def hashed(config_hash: Annotated[str, Path(max_length=LONGEST_HASH)]) -> None:
    """A config in the path, for routes to depend on; `Asking` reads it."""


OfOrchestrator = Annotated[Asking, Depends(of_orchestrator)]
OfWorker = Annotated[Asking, Depends(of_worker)]
