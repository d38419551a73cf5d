"""A graph as LangServe calls it: each run in a task of its own, within the limits of the server."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.schema import StreamEvent
from langchain_core.runnables.utils import ConfigurableFieldSpec
from langchain_core.tracers import RunLogPatch
from langchain_core.tracers.log_stream import LogStreamCallbackHandler, _astream_log_implementation
from langserve.callbacks import AsyncEventAggregatorCallback
from pydantic import BaseModel

from stellwerk.serving import problem
from stellwerk.serving.langserve.given import FormBody
from stellwerk.serving.langserve.visit import Visit, Work

Values = dict[str, Any]
Tell = Callable[[Values], None]


class ServedGraph(Runnable[Any, Values]):
    """What both kinds of graphs share.

    Args:
        name: of the graph.
        given: what it takes.
        gives: what it gives.
        specs: what can be chosen for a run.
    """

    def __init__(
        self,
        name: str,
        given: type[FormBody],
        gives: type[BaseModel],
        specs: Sequence[ConfigurableFieldSpec] = (),
    ) -> None:
        self.name = name
        self._given = given
        self._gives = gives
        self._specs = list(specs)

    @abstractmethod
    async def prepared(
        self, given: Any, visit: Visit, number: int, config: RunnableConfig, tell: Tell
    ) -> Work[Values]:
        """A run of the graph on an input, to be started; nothing has been done of it.

        Args:
            given: the input, checked.
            visit: of the request.
            number: of the input among those of the request.
            config: whose callbacks are told of the run.
            tell: gets what each step gave.

        Raises:
            InputError: naming what cannot be used.
            Problem: if it cannot be run now.
        """

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What can be chosen; LangServe leaves out the rest, and LangGraph lists nothing."""
        return self._specs

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """What it takes."""
        return self._given

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """What it gives."""
        return self._gives

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Values:
        """Not here: LangServe calls `ainvoke`."""
        raise NotImplementedError("a served graph is async; call ainvoke")

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Values:
        """What comes of a run."""
        visit = Visit.of(config)
        return await visit.one(await self.prepared(input, visit, 0, config or {}, _nobody))

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **_: Any,
    ) -> list[Values]:
        """What comes of several runs."""
        configs = config if isinstance(config, list) else [config or {}] * len(inputs)
        if not inputs:
            return []
        visit = Visit.of(configs[0])
        works = [
            await self.prepared(each, visit, number, configs[number], _nobody)
            for number, each in enumerate(inputs)
        ]
        return await visit.all(works)

    async def astream_log(  # type: ignore[override]  # LangServe asks for patches alone
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        diff: bool = True,
        with_streamed_output_list: bool = True,
        **names: Any,
    ) -> AsyncIterator[RunLogPatch]:
        """As that of LangChain, which warns of it at each call; LangServe's protocol has it all the same."""
        log = LogStreamCallbackHandler(auto_close=False, **names, _schema_format="original")
        patches = _astream_log_implementation(self, input, config, stream=log)
        async for patch in patches:
            yield patch

    async def astream_events(  # type: ignore[override]  # LangServe gives the version alone
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[StreamEvent]:
        """As that of LangChain. The graph's last event comes last, and has what came of the run."""
        root, last = str((config or {}).get("run_id")), None
        async for event in super().astream_events(input, config, **options):
            if last is not None:  # told once the graph has ended: the output
                last["data"]["output"] = event["data"].get("chunk")
            elif event["run_id"] == root and event["event"] == "on_chain_end":
                last = event
            else:
                yield event
        if last is not None:
            yield last

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **_: Any
    ) -> AsyncIterator[Values]:
        """What each step gave, and at the end what came of the run."""
        visit = Visit.of(config)
        made: asyncio.Queue[Values | None] = asyncio.Queue()
        running = visit.start(await self.prepared(input, visit, 0, config or {}, made.put_nowait))
        running.task.add_done_callback(lambda _: made.put_nowait(None))
        try:
            while (chunk := await made.get()) is not None:
                yield chunk
        finally:
            if not running.task.done():
                await running.stopped(problem.gone())
        yield running.result()


def told(config: RunnableConfig, name: str) -> RunnableConfig:
    """The part of LangServe's config that a graph is run with: who is told of the run, and its id."""
    callbacks = config.get("callbacks")
    if isinstance(callbacks, list):  # LangServe keeps all events of a run, to show them where that is on
        callbacks = [each for each in callbacks if not isinstance(each, AsyncEventAggregatorCallback)]
    part: RunnableConfig = {"callbacks": callbacks, "run_name": name}
    if (run_id := config.get("run_id")) is not None:
        part["run_id"] = run_id
    return part


def _nobody(chunk: Values) -> None:
    """Where nobody is told of steps."""
