"""Kill runs with SIGKILL at random moments and resume them, until they are done.

    python -m tests.persistence.kills --kills 200 --url sqlite:///kills.sqlite --json kills.json

Each process of a run is a fork of this one, which has imported everything and opened no database, so that
a kill costs milliseconds. A run appends to a log what it does (`ran a`) and what is committed (`stored a`).
What is checked: a resumed run ends with the right answer; nothing runs again after it was stored; pruning
leaves the state equal, and no value or write that no checkpoint has.

A subtask whose result was not committed when the kill came runs again: nobody can know that it ran.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.func import task
from langgraph.graph import StateGraph
from sqlalchemy import Connection, create_engine, select, text
from typing_extensions import TypedDict

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.checkpoint_codec import Address, CheckpointRow, Codec, thread_key
from stellwerk.persistence.database import Database
from stellwerk.persistence.migrate import VERSION_TABLE
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from tests.fakes import Scripted, ladder, made, make, mark_of, plan, values, worker

FAN = range(6)
PLAN = {"a": "", "c": "a", "b": "", "e": "b", "z": "c e"}
KINDS = [(graph, sync) for graph in ("tasks", "orchestrator") for sync in (True, False)]

Log = Callable[[str], None]


def stored_results(pending: Sequence[tuple[str, Any]]) -> list[str]:
    """Ids of the results among what is written."""
    return [
        str(value["id"])
        for channel, value in pending
        if channel == "__return__" and isinstance(value, dict) and "id" in value
    ]


def told(saver: type[Any], log: Log) -> type[Any]:
    """A checkpointer that logs each result once it is committed."""

    class Told(saver):  # type: ignore[misc]
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


class Sum(TypedDict):
    parts: Annotated[list[dict[str, Any]], operator.add]
    total: int


def tasks_graph(log: Log, sync: bool) -> Any:
    """A node that fans out, and one that adds up."""

    def part(number: int) -> dict[str, Any]:
        log(f"ran {number}")
        time.sleep(random.uniform(0, 0.004))
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


def orchestrator(log: Log, sync: bool) -> Any:
    """Stellwerk's own, with a model that logs which subtask it is asked for."""

    def before(messages: Sequence[BaseMessage]) -> None:
        log(f"ran {mark_of(messages)}")
        time.sleep(random.uniform(0, 0.004))

    model = Scripted(reply=make, before=before)
    if not sync:

        async def abefore(messages: Sequence[BaseMessage]) -> None:
            log(f"ran {mark_of(messages)}")
            await asyncio.sleep(random.uniform(0, 0.004))

        model = Scripted(reply=make, abefore=abefore)
    return create_orchestrator([worker()], ladder(model, model))


def advance(url: str, kind: tuple[str, bool], thread: str, log: Log) -> None:
    """Start a run, or resume it; the code of the process that is killed."""
    name, sync = kind
    graph = (tasks_graph if name == "tasks" else orchestrator)(log, sync)
    start = {"parts": []} if name == "tasks" else {"task": "Do it", "plan": plan(**PLAN)}
    config: RunnableConfig = {"configurable": {"thread_id": thread}, "max_concurrency": 100}
    if sync:
        with told(SQLAlchemySaver, log).from_url(url) as saver:
            given = None if saver.get_tuple(config) else start
            output = graph.compile(checkpointer=saver).invoke(given, config, durability="sync")
    else:

        async def run() -> Any:
            async with told(AsyncSQLAlchemySaver, log).from_url(url) as asaver:
                given = None if await asaver.aget_tuple(config) else start
                return await graph.compile(checkpointer=asaver).ainvoke(given, config, durability="sync")

        output = asyncio.run(run())
    if name == "tasks":
        assert output["total"] == sum(number**2 for number in FAN), output
        assert [part["id"] for part in output["parts"]] == [str(number) for number in FAN], output
    else:
        right = {name: made(name, *needs.split()) for name, needs in PLAN.items()}
        assert values(output) == right, output


def check(url: str, kind: tuple[str, bool], thread: str, log: Log) -> None:
    """Prune a finished run, and see that nothing is lost and nothing is left over."""
    name, _ = kind
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    with SQLAlchemySaver.from_url(url) as saver:
        graph = (tasks_graph if name == "tasks" else orchestrator)(log, True).compile(checkpointer=saver)
        before = graph.get_state(config)
        saver.prune([thread])
        after = graph.get_state(config)
        assert (after.values, after.next) == (before.values, ()), (before, after)
        assert len(list(saver.list(config))) == 1
        assert left_over(saver.database, thread) == {"blobs": 0, "writes": 0}


def left_over(database: Database, thread: str) -> dict[str, int]:
    """Rows that no checkpoint of the thread has."""
    name = thread_key(thread)

    def unit(connection: Connection) -> dict[str, int]:
        from stellwerk.persistence.serde import StrictSerializer

        rows = connection.execute(select(checkpoints).where(checkpoints.c.thread == name)).all()
        codec = Codec(StrictSerializer())
        used = set[bytes]()
        for row in rows:
            at = Address(thread, row.checkpoint_ns.decode(), None)
            own = CheckpointRow._make([getattr(row, field) for field in CheckpointRow._fields])
            used |= set(codec.record(own, at).blobs.values())
        kept = {(bytes(row.ns), bytes(row.checkpoint_id)) for row in rows}
        stored = connection.execute(select(blobs.c.blob).where(blobs.c.thread == name)).scalars()
        pending = connection.execute(
            select(writes.c.ns, writes.c.checkpoint_id).where(writes.c.thread == name)
        ).all()
        return {
            "blobs": sum(bytes(blob) not in used for blob in stored),
            "writes": sum((bytes(row.ns), bytes(row.checkpoint_id)) not in kept for row in pending),
        }

    return database.read(unit)


def start(work: Callable[..., None], url: str, kind: tuple[str, bool], thread: str, folder: Path) -> int:
    """Fork a process that does this; what it raises goes to a file."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        descriptor = os.open(folder / f"{thread}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        work(url, kind, thread, lambda line: os.write(descriptor, f"{line}\n".encode()))
        code = 0
    except BaseException:
        (folder / f"{thread}.error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def finished(pid: int, folder: Path, thread: str) -> bool:
    """Wait for a process; whether it ended by itself, as it should, and was not killed."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    error = folder / f"{thread}.error"
    assert status == 0, error.read_text() if error.exists() else status
    return True


def again(log: list[str]) -> list[str]:
    """What ran after it was stored."""
    stored: set[str] = set()
    wrong = []
    for line in log:
        what, name = line.split(" ", 1)
        if what == "stored":
            stored.add(name)
        elif name in stored:
            wrong.append(name)
    return wrong


def kill_runs(url: str, wanted: int, folder: Path, seed: int, progress: bool = False) -> dict[str, Any]:
    """Kill so many times, and see that every run is right in the end."""
    chance = random.Random(seed)
    kills = runs = most = 0
    lengths: dict[tuple[str, bool], float] = {}
    began = time.monotonic()
    while kills < wanted:
        kind = KINDS[runs % len(KINDS)]
        thread = f"run-{runs}"
        if kind not in lengths:  # one that is left alone, to know how long they take
            moment = time.monotonic()
            assert finished(start(advance, url, kind, thread, folder), folder, thread)
            lengths[kind] = time.monotonic() - moment
            thread += "-killed"
        here = 0
        while True:
            pid = start(advance, url, kind, thread, folder)
            if kills < wanted and here < 5:
                time.sleep(chance.uniform(0.02, lengths[kind]))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if finished(pid, folder, thread):
                break
            kills += 1
            here += 1
        most = max(most, here)
        log = (folder / f"{thread}.log").read_text().splitlines()
        assert not (wrong := again(log)), f"{kind}: {wrong} ran again after they were stored: {log}"
        assert finished(start(check, url, kind, thread, folder), folder, thread)
        runs += 1
        if progress:
            print(
                f"{kills} kills, {runs} runs, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )
    return {"kills": kills, "runs": runs, "most_kills_of_a_run": most, "seconds": time.monotonic() - began}


def kill_setups(url: str, wanted: int, folder: Path, seed: int) -> int:
    """Kill the creation of the tables; whoever comes next creates what is missing."""
    chance = random.Random(seed)
    kills = 0

    def drop(url: str, *_: object) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            for table in (checkpoints, blobs, writes):
                table.drop(connection, checkfirst=True)
            connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))

    def create(url: str, *_: object) -> None:
        SQLAlchemySaver.from_url(url).setup()

    for number in range(wanted):
        thread = f"setup-{number}"
        assert finished(start(drop, url, KINDS[0], thread, folder), folder, thread)
        pid = start(create, url, KINDS[0], thread, folder)
        time.sleep(chance.uniform(0, 0.1 if number % 2 else 0.5))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills += not finished(pid, folder, thread)
        assert finished(start(create, url, KINDS[0], thread, folder), folder, thread)
        assert finished(start(advance, url, KINDS[0], thread, folder), folder, thread)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url", help="default: a SQLite file in a temporary folder")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--setups", type=int, default=0, help="DROPS all tables, so many times")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/kills.sqlite"
        setups = kill_setups(url, options.setups, Path(folder), options.seed)
        found = kill_runs(url, options.kills, Path(folder), options.seed, progress=True)
    report = {
        "database": url.partition(":")[0],
        "seed": options.seed,
        "kills_of_setup": setups,
        **found,
    }
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
