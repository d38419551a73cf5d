"""The orchestrator as LangServe calls it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.types import Command

from stellwerk.errors import InputError
from stellwerk.graphs.session import Graph, Session
from stellwerk.nodes.chosen import allowed
from stellwerk.nodes.state import OrchestratorState
from stellwerk.nodes.supervisor import task_of
from stellwerk.run_options import RunOptions
from stellwerk.serving.answers import check_waits
from stellwerk.serving.bodies import RunBody
from stellwerk.serving.langserve.chosen import THREAD
from stellwerk.serving.langserve.given import OrchestratorGiven, answers_to
from stellwerk.serving.langserve.graph import ServedGraph, Tell, Values, told
from stellwerk.serving.langserve.shown import INTERRUPT, OF_ORCHESTRATOR, output, stopped
from stellwerk.serving.langserve.visit import Visit, Work
from stellwerk.serving.service import Service, unfinished
from stellwerk.serving.threads import inner

_SUBTASK = "run_subtask"  # the task of a subtask, in `execute`
Entered = Values | Command[Any] | None


class ServedOrchestrator(ServedGraph):
    """A task on one of the owner's threads, or on a new one, whose id the output has."""

    async def prepared(
        self, given: Any, visit: Visit, number: int, config: RunnableConfig, tell: Tell
    ) -> Work[Values]:
        """As that of `ServedGraph`."""
        assert isinstance(given, OrchestratorGiven)
        service, chosen = visit.service, visit.chosen[number]
        if given.resumes and chosen.thread is None:
            raise InputError(
                "resume: it is not said of which thread; give its id as config.configurable.thread_id"
            )
        allowed(service.probed.ladder, chosen.options)  # which the graph finds out later
        task = None if given.resumes else _task(given, service)
        at = None if chosen.thread is None else await service.threads.inner(visit.owner, chosen.thread)

        def session_on(thread: str, at: str) -> Session:
            async def drive(graph: Graph, entered: Entered, bound: RunnableConfig) -> None:
                # Else LangChain takes for its metadata the name that the database knows the thread by.
                about: RunnableConfig = {"metadata": {THREAD: thread}}
                merged = merge_configs(bound, told(config, self.get_name()), about)
                await _driven(graph, entered, merged, chosen.options, tell)

            return service.session_on(at, drive=drive)

        async def run() -> Values:
            thread = chosen.thread or await service.threads.make(visit.owner)
            visit.threads[number] = thread
            session = session_on(thread, at or inner(visit.owner, thread))
            if task is not None:
                values = await session.start(task, _quiet, unfinished=unfinished())
            else:
                asked = await session.questions()
                values = await session.resume(_quiet, answers_to(asked, given.resume))
            if session.asked:
                return stopped(thread, session.asked)
            return {**output(values, OF_ORCHESTRATOR), THREAD: thread}

        if chosen.thread is not None and at is not None:
            await _check(session_on(chosen.thread, at), given)
        return run


async def _check(session: Session, given: OrchestratorGiven) -> None:
    """Check that a thread can do it now; what changes until then is found out again."""
    if given.resumes:
        await check_waits(session)
        answers_to(await session.questions(), given.resume)
        return
    await session.check_free()
    if (await session.state())[1]:
        raise unfinished()


def _task(given: OrchestratorGiven, service: Service) -> Values:
    """A task as the graph takes it.

    Raises:
        InputError: naming what cannot be used.
    """
    messages = given.conversation
    text = (
        given.task if given.task is not None else task_of(cast("OrchestratorState", {"messages": messages}))
    )
    body = RunBody.model_construct(task=text, documents=given.documents, plan=given.plan, budget=given.budget)
    made = service.given(body)
    if messages:
        del made["task"]
        made["messages"] = messages
    return made


async def _driven(
    graph: Graph,
    entered: Entered,
    config: RunnableConfig,
    options: RunOptions | None,
    tell: Tell,
) -> None:
    stream = graph.astream(entered, config, context=options, stream_mode="updates", durability="sync")
    async with aclosing(cast("AsyncGenerator[dict[str, Any], None]", stream)) as chunks:
        async for chunk in chunks:
            for node, update in chunk.items():
                if node == INTERRUPT:  # the output has it
                    continue
                of_subtask = node == _SUBTASK  # as soon as it ends, and `execute` not before all do
                tell({node: update if of_subtask else output(update or {}, OF_ORCHESTRATOR)})


def _quiet(line: str) -> None:
    """Nobody reads lines here: a stream has the steps."""
