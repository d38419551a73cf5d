"""Graphs for runs that are killed: each logs what it does (`ran a`).

Those that write have an outside world: a file beside the database, to which each write appends its line at
once, as a kill cannot halve one `write`.
"""

from __future__ import annotations

import asyncio
import operator
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.func import task
from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from stellwerk.effects import Claim, Effect, EffectJournal, Intent, Outcome
from stellwerk.error_policy import ErrorPolicy
from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.effects import SQLAlchemyEffectJournal
from tests.fakes import Scripted, ladder, made, make, mark_of, plan, values, wants, worker

Log = Callable[[str], None]

FAN = range(6)
ZIGZAG = {"a": "", "c": "a", "b": "", "e": "b", "z": "c e"}
DIAMOND = {"a": "", "b": "a", "c": "a", "d": "b c"}
WRITTEN = {"writes in a diamond": DIAMOND, "writes in a zig-zag": ZIGZAG}
ESCALATED, RETRIED = {"b", "z"}, {"a", "c", "d"}
TTL = 0.3  # seconds for which a claim is good: whoever resumes waits for that of the dead


class Kind(NamedTuple):
    """A graph, by name, and whether it runs the sync way."""

    graph: str
    sync: bool

    @property
    def writes(self) -> bool:
        """Whether its subtasks call a tool that writes."""
        return self.graph in WRITTEN


KINDS = [Kind(graph, sync) for graph in ("tasks", "orchestrator", *WRITTEN) for sync in (True, False)]


def pause(most: float = 0.004) -> None:
    """Seconds in which a kill may come."""
    time.sleep(random.uniform(0, most))


def stored_results(pending: Sequence[tuple[str, Any]]) -> list[str]:
    """Names of the results, and of the writes, among what is written to the checkpoint."""
    names = []
    for channel, value in pending:
        if channel == "__return__" and isinstance(value, dict) and "id" in value:
            names.append(str(value["id"]))
        elif channel == "uses" and value:
            names += [f"write:{use['args']['what']}" for use in value.values() if not use["failed"]]
    return names


def told(saver: type[Any], log: Log) -> type[Any]:
    """A checkpointer that logs each result once it is committed."""

    class Told(saver):  # type: ignore[misc]  # as `saver` is one of two classes
        def put_writes(self, config: RunnableConfig, pending: Any, task_id: str, path: str = "") -> None:
            super().put_writes(config, pending, task_id, path)
            for name in stored_results(pending):
                log(f"stored {name}")

        async def aput_writes(
            self, config: RunnableConfig, pending: Any, task_id: str, path: str = ""
        ) -> None:
            await super().aput_writes(config, pending, task_id, path)
            for name in stored_results(pending):
                log(f"stored {name}")

    return Told


def told_journal(url: str, log: Log) -> SQLAlchemyEffectJournal:
    """A journal on the same database that logs what it knows of each write."""

    class Told(SQLAlchemyEffectJournal):
        def begin(self, intent: Intent, *, again: str | None = None) -> Claim:
            claim = super().begin(intent, again=again)
            if claim.state == "ours":
                log(f"intended write:{intent.args['what']}")
            return claim

        def end(self, key: str, claim: str, outcome: Outcome) -> bool:
            kept = super().end(key, claim, outcome)
            log(f"noted write:{outcome['output'].removeprefix('sent ')}")
            return kept

    return Told.from_url(url, ttl=TTL)


class World:
    """Where writes go: a file of lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: str) -> None:
        """Write a line, wholly or not at all."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    @property
    def lines(self) -> Counter[str]:
        """What was written, and how often."""
        return Counter(self._path.read_text().splitlines() if self._path.exists() else ())

    def find(self, args: Mapping[str, Any]) -> str | None:
        """What a `reconcile` gives of a write."""
        return f"sent {args['what']}" if args["what"] in self.lines else None


class Sum(TypedDict):
    parts: Annotated[list[dict[str, Any]], operator.add]
    total: int


def tasks_graph(log: Log, sync: bool) -> Any:
    """A node that fans out, and one that adds up."""

    def part(number: int) -> dict[str, Any]:
        log(f"ran {number}")
        pause()
        return {"id": str(number), "square": number**2, "text": f"{number}" * 200}

    async def apart(number: int) -> dict[str, Any]:
        log(f"ran {number}")
        await asyncio.sleep(random.uniform(0, 0.004))
        return {"id": str(number), "square": number**2, "text": f"{number}" * 200}

    made_part, made_apart = task(part), task(apart)

    def fan(state: Sum) -> dict[str, Any]:
        return {"parts": [future.result() for future in [made_part(number) for number in FAN]]}

    async def afan(state: Sum) -> dict[str, Any]:
        return {"parts": await asyncio.gather(*[made_apart(number) for number in FAN])}

    graph = StateGraph(Sum)
    graph.add_node("fan", fan if sync else afan)
    graph.add_node("add", lambda state: {"total": sum(part["square"] for part in state["parts"])})
    graph.set_entry_point("fan")
    graph.add_edge("fan", "add")
    return graph


def logging_model(log: Log, sync: bool, reply: Callable[[Sequence[BaseMessage]], Any]) -> Scripted:
    """A model that logs which subtask it is asked for."""

    def before(messages: Sequence[BaseMessage]) -> None:
        log(f"ran {mark_of(messages)}")
        pause()

    async def abefore(messages: Sequence[BaseMessage]) -> None:
        log(f"ran {mark_of(messages)}")
        await asyncio.sleep(random.uniform(0, 0.004))

    return Scripted(reply=reply, before=before) if sync else Scripted(reply=reply, abefore=abefore)


def written_graph(log: Log, sync: bool, journal: EffectJournal | None, world: World) -> Any:
    """Each subtask writes; some are retried then, or go to the larger tier, which asks for the write too."""

    def send(what: str) -> str:
        """Send something."""
        log(f"ran write:{what}")
        pause(0.04)  # long, as it is here that kills are wanted
        world.append(what)
        log(f"made write:{what}")
        pause(0.04)
        return f"sent {what}"

    def large(messages: Sequence[BaseMessage]) -> Any:
        if any(isinstance(message, ToolMessage) for message in messages):
            return make(messages)
        return wants(("send", {"what": mark_of(messages)}))

    def small(messages: Sequence[BaseMessage]) -> Any:
        said, mark = large(messages), mark_of(messages)
        if isinstance(said, str) and mark in ESCALATED:
            return '{"text": ""}'
        if isinstance(said, str) and mark in RETRIED and random.random() < 0.5:
            raise ConnectionError("the connection broke off")
        return said

    sender = worker(
        tools=[send],
        effects={"send": Effect("write", reconcile=world.find)},
        errors=ErrorPolicy(retries=1, initial_interval=0.001),
    )
    tiers = ladder(logging_model(log, sync, small), logging_model(log, sync, large))
    return create_orchestrator([sender], tiers, synthesizer="join", effects=journal)


def graph_of(kind: Kind, log: Log, journal: EffectJournal | None, world: World) -> Any:
    """The graph of a kind, which no process has run yet."""
    if kind.graph == "tasks":
        return tasks_graph(log, kind.sync)
    if kind.writes:
        return written_graph(log, kind.sync, journal, world)
    model = logging_model(log, kind.sync, make)
    return create_orchestrator([worker()], ladder(model, model))


def input_of(kind: Kind) -> dict[str, Any]:
    """What a run of a kind is started with."""
    if kind.graph == "tasks":
        return {"parts": []}
    return {"task": "Do it", "plan": plan(**WRITTEN.get(kind.graph, ZIGZAG))}


def check_answer(kind: Kind, output: dict[str, Any], world: World) -> None:
    """Check that a run gave what it should, and that each of its writes was made once."""
    if kind.graph == "tasks":
        assert output["total"] == sum(number**2 for number in FAN), output
        assert [part["id"] for part in output["parts"]] == [str(number) for number in FAN], output
        return
    needs = WRITTEN.get(kind.graph, ZIGZAG)
    assert values(output) == {name: made(name, *needed.split()) for name, needed in needs.items()}, output
    if kind.writes:
        assert "__interrupt__" not in output, output
        assert world.lines == Counter(needs.keys()), world.lines
