"""A worker as LangServe calls it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from stellwerk.serving.bodies import WorkerBody
from stellwerk.serving.langserve.given import WorkerGiven
from stellwerk.serving.langserve.graph import ServedGraph, Tell, Values, told
from stellwerk.serving.langserve.shown import OF_WORKER, output
from stellwerk.serving.langserve.visit import Visit, Work
from stellwerk.serving.worker_routes import job_of, traced_as


class ServedWorker(ServedGraph):
    """One attempt; nothing of it is kept but its trace."""

    async def prepared(
        self, given: Any, visit: Visit, number: int, config: RunnableConfig, tell: Tell
    ) -> Work[Values]:
        """As that of `ServedGraph`."""
        assert isinstance(given, WorkerGiven)
        name, service = self.get_name(), visit.service
        job = job_of(name, WorkerBody.model_construct(**dict(given)), service)
        about: RunnableConfig = {**told(config, name), **traced_as(visit.owner)}

        async def run() -> Values:
            await service.probed.find_out(lambda line: None)
            values: Values = {}
            stream = service.worker_graph(name).astream(job, about, stream_mode=["updates", "values"])
            async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as chunks:
                async for mode, chunk in chunks:
                    if mode == "values":
                        values = chunk
                        continue
                    for node, update in chunk.items():
                        tell({node: output(update or {}, OF_WORKER)})
            return output(values, OF_WORKER)

        return run
