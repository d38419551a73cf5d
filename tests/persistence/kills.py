"""Kill runs with SIGKILL at random moments and resume them, until they are done.

    python -m tests.persistence.kills --kills 200 --url sqlite:///kills.sqlite --json kills.json
    python -m tests.persistence.kills --kills 100 --writes --url sqlite:///kills.sqlite

Each process of a run is a fork of this one, which has imported everything and opened no database, so that
a kill costs milliseconds. A run appends to a log what it does (`ran a`) and what is committed (`stored a`).
What is checked: a resumed run ends with the right answer; nothing runs again after it was stored; each write
of a tool was made once, as counted outside of the database; pruning leaves the state equal, and no value or
write that no checkpoint has.

A subtask whose result was not committed when the kill came runs again: nobody can know that it ran.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from sqlalchemy import Connection, create_engine, select, text

from stellwerk.effects import InMemoryEffectJournal
from stellwerk.persistence.checkpoint_codec import Address, CheckpointRow, Codec, thread_key
from stellwerk.persistence.database import Database
from stellwerk.persistence.migrate import VERSION_TABLE
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from tests.persistence.killed_graphs import (
    KINDS,
    Kind,
    Log,
    World,
    check_answer,
    graph_of,
    input_of,
    told,
    told_journal,
)

# How far a write is, by the last that is logged of it, and where a kill has then hit it.
PLACES = {
    "intended": "a write was intended, and not called",
    "ran": "a write was called, and not made",
    "made": "a write was made, and not in the journal",
    "noted": "a write was in the journal, and not in a checkpoint",
}
ELSEWHERE = "no write was under way"


def advance(url: str, kind: Kind, thread: str, log: Log, world: World) -> None:
    """Start a run, or resume it; the code of the process that is killed."""
    config: RunnableConfig = {"configurable": {"thread_id": thread}, "max_concurrency": 100}
    with told_journal(url, log) as journal:
        graph = graph_of(kind, log, journal, world)
        if kind.sync:
            with told(SQLAlchemySaver, log).from_url(url) as saver:
                given = None if saver.get_tuple(config) else input_of(kind)
                output = graph.compile(checkpointer=saver).invoke(given, config, durability="sync")
        else:

            async def run() -> Any:
                async with told(AsyncSQLAlchemySaver, log).from_url(url) as asaver:
                    given = None if await asaver.aget_tuple(config) else input_of(kind)
                    return await graph.compile(checkpointer=asaver).ainvoke(given, config, durability="sync")

            output = asyncio.run(run())
    check_answer(kind, output, world)


def check(url: str, kind: Kind, thread: str, log: Log, world: World) -> None:
    """Prune a finished run, and see that nothing is lost and nothing is left over."""
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    with SQLAlchemySaver.from_url(url) as saver:
        unused = graph_of(Kind(kind.graph, sync=True), log, InMemoryEffectJournal(), world)
        graph = unused.compile(checkpointer=saver)
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


def start(work: Callable[..., None], url: str, kind: Kind, thread: str, folder: Path) -> int:
    """Fork a process that does this; what it raises goes to a file."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        descriptor = os.open(folder / f"{thread}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def log(line: str) -> None:
            os.write(descriptor, f"{line}\n".encode())

        work(url, kind, thread, log, World(folder / f"{thread}.world"))
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


def hit(log: list[str]) -> str:
    """Where a kill came that ended this log: in the write that is least far, as most hangs on that."""
    last = {name: what for what, name in (line.split(" ", 1) for line in log) if name.startswith("write:")}
    return next((where for what, where in PLACES.items() if what in last.values()), ELSEWHERE)


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


def kill_runs(
    url: str,
    wanted: int,
    folder: Path,
    seed: int,
    *,
    kinds: Sequence[Kind] = KINDS,
    most: int = 5,
    progress: bool = False,
) -> dict[str, Any]:
    """Kill so many times, and see that every run is right in the end.

    Args:
        url: of the database.
        wanted: kills.
        folder: for logs, and for what is written outside of the database.
        seed: of the moments.
        kinds: of runs, which take turns.
        most: kills of one run.
        progress: whether it is told on standard error.
    """
    chance = random.Random(seed)
    kills = runs = of_one = written = 0
    hits: Counter[str] = Counter()
    lengths: dict[Kind, float] = {}
    began = time.monotonic()
    while kills < wanted:
        kind = kinds[runs % len(kinds)]
        thread = f"run-{runs}"
        if kind not in lengths:  # one that is left alone, to know how long they take
            moment = time.monotonic()
            assert finished(start(advance, url, kind, thread, folder), folder, thread)
            lengths[kind] = time.monotonic() - moment
            thread += "-killed"
        here = lines = 0
        while True:
            pid = start(advance, url, kind, thread, folder)
            if kills < wanted and here < most:
                time.sleep(chance.uniform(0.02, lengths[kind]))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ended = finished(pid, folder, thread)
            log = (folder / f"{thread}.log").read_text().splitlines()
            if ended:
                break
            if kind.writes:
                hits[hit(log[lines:])] += 1
            lines = len(log)
            kills += 1
            here += 1
        of_one = max(of_one, here)
        assert not (wrong := again(log)), f"{kind}: {wrong} ran again after they were stored: {log}"
        written += World(folder / f"{thread}.world").lines.total()  # each once, as `advance` has checked
        assert finished(start(check, url, kind, thread, folder), folder, thread)
        runs += 1
        if progress:
            print(
                f"{kills} kills, {runs} runs, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )
    seconds = time.monotonic() - began
    found: dict[str, Any] = {
        "kills": kills,
        "runs": runs,
        "most_kills_of_a_run": of_one,
        "seconds": seconds,
    }
    if any(kind.writes for kind in kinds):
        found |= {"writes": written, "repeated": 0, "hits": dict(hits.most_common())}
    return found


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
    parser.add_argument("--writes", action="store_true", help="only runs whose subtasks write")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/kills.sqlite"
        setups = kill_setups(url, options.setups, Path(folder), options.seed)
        kinds = [kind for kind in KINDS if kind.writes or not options.writes]
        found = kill_runs(url, options.kills, Path(folder), options.seed, kinds=kinds, progress=True)
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
