"""What all requests share: the database, the graphs, and the limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import Depends, Request
from sqlalchemy import select

from stellwerk.budget import RunBudget
from stellwerk.errors import DatabaseError
from stellwerk.graphs.default import configured_workers, default_ladder
from stellwerk.graphs.kept import Kept, of_several_owners
from stellwerk.graphs.opened import opened
from stellwerk.graphs.session import Drive, Graph, ProbedGraph, Session
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.nodes.supervisor import task_of
from stellwerk.observer import Observer
from stellwerk.observing.configured import configured_observers, finish_exporting, start_exporting
from stellwerk.persistence.run_units import Run
from stellwerk.persistence.runs import AsyncRunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.persistence.sqlite_file import make_sqlite_file
from stellwerk.persistence.traces import TraceStore
from stellwerk.persistence.urls import parse_url
from stellwerk.plan import Plan
from stellwerk.serving.bodies import RunBody, documents_of
from stellwerk.serving.problem import Problem, conflict
from stellwerk.serving.running import Runs
from stellwerk.serving.threads import Threads
from stellwerk.settings import Settings
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.probe_reach import Endpoint
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Worker
from stellwerk.workers.asking import asking_people

_PAUSE = 60.0  # seconds until servers of which nothing is known are asked again
_FRESH = 5.0  # seconds for which what was found of the tiers holds
_PATIENCE = 3.0  # seconds for the database, and for a tier's server, to say that they are there


def unfinished() -> Problem:
    """The thread cannot begin another run."""
    return conflict(
        "The thread has an unfinished run",
        "It waits for answers or was broken off; go on with POST /threads/{id}/resume, or make another.",
    )


@dataclass
class Service:
    """What routes work with, for as long as the application lives."""

    settings: Settings
    workers: Mapping[str, Worker]
    probed: ProbedGraph
    saver: AsyncSQLAlchemySaver
    records: AsyncRunStore
    traces: TraceStore
    threads: Threads
    runs: Runs
    kept: Kept
    observers: tuple[Observer, ...]
    _worker_graphs: dict[str, tuple[Ladder, Graph]] = field(default_factory=dict)
    _reached: tuple[float, bool] = (0.0, False)

    async def session(self, owner: str, thread: str) -> Session:
        """A thread of the owner.

        Raises:
            Problem: if they have none of this id.
        """
        return self.session_on(await self.threads.inner(owner, thread))

    def session_on(self, inner: str, *, drive: Drive | None = None) -> Session:
        """A thread, by the name that the database knows it by; `drive` as for `Session`."""
        return Session(self.probed, self.saver, inner, _busy, drive=drive)

    def given(self, body: RunBody) -> dict[str, Any]:
        """A task as the graph takes it.

        Raises:
            InputError: naming what cannot be used.
        """
        given: dict[str, Any] = {"task": task_of({"task": body.task})}
        if body.documents:
            given["documents"] = documents_of(body.documents)
        if body.plan is not None:
            plan = Plan.parse(body.plan)
            plan.check_workers(list(self.workers))
            given["plan"] = plan.model_dump(mode="json")
        if body.budget is not None and (budget := body.budget.model_dump(exclude_none=True)):
            RunBudget().within(budget)
            given["budget"] = budget
        return given

    def worker(self, name: str) -> Worker:
        """The worker of that name.

        Raises:
            Problem: if there is none.
        """
        if (worker := self.workers.get(name)) is None:
            raise Problem(404, "No such worker", f"There are {', '.join(self.workers)}; see GET /workers.")
        return worker

    def worker_graph(self, name: str) -> Graph:
        """A worker that runs alone, on the ladder as it is known by now."""
        ladder, built = self.probed.ladder, self._worker_graphs.get(name)
        if built is None or built[0] is not ladder:
            graph = create_worker_graph(
                self.workers[name],
                ladder,
                traces=self.traces,
                effects=self.kept.get("effects"),
                cache=self.kept.get("cache"),
                observers=self.observers,
            )
            built = self._worker_graphs[name] = ladder, graph.compile(name=name)
        return built[1]

    async def ready(self) -> dict[str, bool]:
        """What there has to be for a run: the database, a tier, and a server that does not end."""
        if time.monotonic() - self._reached[0] > _FRESH or not self._reached[1]:
            self._reached = time.monotonic(), await self._reaches_a_tier()
        return {
            "database": await self._has_database(),
            "tiers": self._reached[1],
            "open": not self.runs.closing,
        }

    async def _has_database(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.saver.database.read(lambda c: c.execute(select(1)).scalar())
        except (DatabaseError, TimeoutError):
            return False
        return True

    async def _reaches_a_tier(self) -> bool:
        async with httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False) as client:
            return any(await asyncio.gather(*(_reaches(client, tier) for tier in self.probed.ladder)))


@asynccontextmanager
async def open_service(settings: Settings, ladder: Ladder | None, runs: Runs) -> AsyncIterator[Service]:
    """Open the database and build the graphs; at the end, runs are stopped and their threads let go.

    Raises:
        ConfigurationError: if the settings or the database cannot be used.
    """
    settings = of_several_owners(settings)
    url = parse_url(settings.place)
    make_sqlite_file(url)
    start_exporting(settings)
    observers = configured_observers(settings)
    by_name = {worker.name: worker for worker in configured_workers(settings)}
    # As in the orchestrator: whoever runs a worker alone is not spared the person who is asked there.
    workers = asking_people(by_name, settings.people.approve, settings.people.ask)
    async with AsyncExitStack() as stack:
        stack.callback(finish_exporting)
        at = await stack.enter_async_context(opened(settings, url, observers))
        await at.saver.setup()
        if "cache" in at.kept:
            await at.store.start_ttl_sweeper()
            stack.push_async_callback(at.store.stop_ttl_sweeper)
        stack.push_async_callback(runs.wait)
        yield Service(
            settings=settings,
            workers=workers,
            probed=ProbedGraph(at.build, ladder or default_ladder(settings), at.saver.database, pause=_PAUSE),
            saver=at.saver,
            records=AsyncRunStore(at.saver.database),
            traces=at.traces,
            threads=Threads(at.store),
            runs=runs,
            kept=at.kept,
            observers=observers,
        )


async def service_of(request: Request) -> Service:
    """What the application shares, for routes to depend on."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def _busy(_: str, run: Run) -> Problem:
    return conflict(
        "The thread is running",
        f"A run of it began at {run.started_at:%Y-%m-%d %H:%M:%S} UTC; wait for it, or stop it with "
        "POST /threads/{id}/cancel.",
    )


async def _reaches(client: httpx.AsyncClient, tier: Tier) -> bool:
    """Whether any of a tier's servers answers, be it with an error; a model in this process always does."""
    endpoints = [Endpoint.of(replica.model) for replica in tier.replicas] or [Endpoint.of(tier.model)]
    for endpoint in endpoints:
        if endpoint is None:
            return True
        try:
            # Without a key, which is for a model's answers alone.
            await client.get(f"{endpoint.url.rstrip('/')}/models")
        except (httpx.HTTPError, httpx.InvalidURL):
            continue
        return True
    return False
