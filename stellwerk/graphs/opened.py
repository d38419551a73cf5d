"""A database with all that the configured orchestrator works with there, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import URL

from stellwerk.graphs.default import default_orchestrator
from stellwerk.graphs.kept import Kept, kept_in
from stellwerk.graphs.session import Graph
from stellwerk.observer import Observer
from stellwerk.persistence.effects import SQLAlchemyEffectJournal
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.persistence.store import AsyncSQLAlchemyStore
from stellwerk.persistence.traces import TraceStore
from stellwerk.settings import Settings
from stellwerk.tiers.ladder import Ladder


@dataclass(frozen=True, slots=True)
class Opened:
    """What is open.

    Args:
        saver: holds the threads.
        store: on the saver's database.
        traces: get every attempt.
        kept: plans, answers and writes, as far as the settings want them kept.
        build: the orchestrator on a ladder, compiled with the saver.
    """

    saver: AsyncSQLAlchemySaver
    store: AsyncSQLAlchemyStore
    traces: TraceStore
    kept: Kept
    build: Callable[[Ladder], Graph]


@asynccontextmanager
async def opened(settings: Settings, url: URL, observers: Sequence[Observer]) -> AsyncIterator[Opened]:
    """Open the database of the runs.

    Raises:
        ConfigurationError: if the key of origins cannot be read.
        DatabaseError: if it fails in the middle.
    """
    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(AsyncSQLAlchemySaver.from_url(url))
        told = TraceStore.from_url(url, **settings.conversion.of_traces())
        traces = await stack.enter_async_context(told)
        effects = stack.enter_context(SQLAlchemyEffectJournal.from_url(url))
        store = AsyncSQLAlchemyStore(saver.database)
        kept = kept_in(store, settings, effects)

        def build(ladder: Ladder) -> Graph:
            orchestrator = default_orchestrator(
                settings, ladder=ladder, traces=traces, observers=observers, **kept
            )
            return orchestrator.compile(checkpointer=saver, name="orchestrator")

        yield Opened(saver, store, traces, kept, build)
