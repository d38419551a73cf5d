"""A compiled graph of which observers see each run as a whole: from its first step to its last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from stellwerk.observer import Observer, Part, RunPart
from stellwerk.scope import Scope

NoteOwner = Callable[[str, str], None]
"""Gets an owner and a thread of theirs."""
_END = object()
_TIERS = {"tier", "smallest_tier", "largest_tier"}  # keys of inputs and options that name one
_AS_IT_HAPPENS = {"messages", "custom"}  # stream modes that LangGraph serves before a step has ended


class ObservedGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """Around its own `stream` and `astream`, through which every way to run a graph leads.

    The scope is entered only while the graph works, not while its consumer does between two chunks: a
    generator has the context of whoever takes from it.
    """

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:
        """As that of LangGraph."""
        scope = self._begin(config)
        try:
            roomy = self._with_room(config, options, 2)
            chunks = cast("Generator[Any]", super().stream(input, roomy, **options))
            with closing(chunks):
                while True:
                    entered = scope.enter()
                    try:
                        chunk = next(chunks, _END)
                    finally:
                        scope.leave(entered)
                    if chunk is _END:
                        break
                    yield chunk
        except BaseException as error:
            scope.end(error)
            raise
        _end(scope)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """As that of LangGraph."""
        scope = self._begin(config)
        try:
            roomy = self._with_room(config, options, 1)
            chunks = cast("AsyncGenerator[Any]", super().astream(input, roomy, **options))
            async with aclosing(chunks):
                while True:
                    entered = scope.enter()
                    try:
                        chunk = await anext(chunks, _END)
                    finally:
                        scope.leave(entered)
                    if chunk is _END:
                        break
                    yield chunk
        except BaseException as error:
            scope.end(error)
            raise
        _end(scope)

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """As that of LangGraph, with the names of the tiers."""
        return self._with_tiers(super().get_input_jsonschema(config))

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """As that of LangGraph, with the names of the tiers."""
        schema = super().get_context_jsonschema()
        return None if schema is None else self._with_tiers(schema)

    def _with_tiers(self, schema: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(self.builder, ObservedBuilder)
        for name in _TIERS & schema.get("properties", {}).keys():
            schema["properties"][name]["enum"] = list(self.builder.tiers)
        return schema

    def _with_room(
        self, config: RunnableConfig | None, options: dict[str, Any], places: int
    ) -> RunnableConfig | None:
        """The config, with room for what takes a place only while it is streamed as it happens.

        That is the node that waits for the subtasks, and in a sync run also who waits for the next chunk. A
        limit of one place would be theirs, and no subtask would ever begin.
        """
        modes = options.get("stream_mode") or ()
        asked = {modes} if isinstance(modes, str) else set(modes)
        limit = (config or {}).get("max_concurrency") or (self.config or {}).get("max_concurrency")
        if limit is None or not (options.get("subgraphs") or asked & _AS_IT_HAPPENS):
            return config
        return {**(config or {}), "max_concurrency": limit + places}

    def _begin(self, config: RunnableConfig | None) -> Scope:
        builder = self.builder
        assert isinstance(builder, ObservedBuilder)
        thread = ((config or {}).get("configurable") or {}).get("thread_id")
        return Scope(builder.part(self.get_name(), str(thread or "")), builder.observers, None)


class ObservedBuilder(StateGraph[Any, Any, Any, Any]):
    """A state graph whose compiled form is observed."""

    observers: Sequence[Observer] = ()
    tiers: Sequence[str] = ()
    note_owner: NoteOwner | None = None

    def part(self, name: str, thread_id: str) -> Part:
        """What a run of it is, by the name of the compiled graph."""
        return RunPart(name=name, thread_id=thread_id)

    def compile(self, *args: Any, **kwargs: Any) -> ObservedGraph:
        """As `StateGraph.compile`."""
        compiled = super().compile(*args, **kwargs)
        compiled.__class__ = ObservedGraph  # made anew from its attributes, it would lose private ones
        return cast("ObservedGraph", compiled)


def _end(scope: Scope) -> None:
    part = scope.part
    if isinstance(part, RunPart) and part.ledger is None:
        part.outcome = "interrupted"  # a person is asked, or the graph was compiled to stop there
    scope.end()
