"""A folder with settings, and `stellwerk serve` in it: real processes, as many as are asked for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.scheduling.systems.job import MODEL
from stellwerk.capabilities import Capabilities, FoundCapabilities
from stellwerk.persistence.capabilities import SQLAlchemyCapabilityStore
from stellwerk.settings import Settings
from stellwerk.tiers.probe import VERSION

ROOT = Path(__file__).parents[2]
MOST_RUNS = 100_000  # at a time: it is to be seen what happens, not what is refused
_UP = 60.0  # seconds
_RUNNING = re.compile(r"running on (\S+) ")
_LONG = 86_400.0  # seconds


@dataclass(frozen=True)
class Place:
    """A folder with settings.

    Args:
        folder: with `stellwerk.toml`.
        models: root URL of the simulated model server.
        database: a URL, or None for a SQLite file in the folder.
    """

    folder: Path
    models: str
    database: str | None = None

    def prepare(self) -> None:
        """Write the settings, and what a probe would have found of a server that holds answers to schemas.

        Raises:
            DatabaseError: if the database cannot be reached.
        """
        serve = {
            "port": 0,
            "max_runs": MOST_RUNS,
            "max_runs_per_owner": MOST_RUNS,
            "run_seconds": _LONG,
        }
        tier = {
            "model": MODEL,
            "url": f"{self.models}/v1",
            "input_price": 0.1,
            "output_price": 0.4,
            "max_concurrency": MOST_RUNS,
            "timeout": _LONG,
        }
        lines = [
            'workers = ["benchmarks.scheduling.systems.job:STEP"]',
            f"database = {json.dumps(str(self.folder / 'runs.sqlite'))}",
            *([f"database_url = {json.dumps(self.database)}"] if self.database else []),
            *_section("tiers.small", tier),
            *_section("serve", serve),
        ]
        file = self.folder / "stellwerk.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        file.chmod(0o600)
        found = FoundCapabilities(
            url=str(tier["url"]),
            model=MODEL,
            capabilities=Capabilities(chat=True, json_schema=True, probe=VERSION),
            probed_at=datetime.now(UTC),
        )
        with SQLAlchemyCapabilityStore.from_url(self.url) as store:
            store.save(found)

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self.database or f"sqlite:///{self.folder / 'runs.sqlite'}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that goes by these settings and by no others."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLWERK_")}
        return {**kept, "PYTHONPATH": str(ROOT), "STELLWERK_CONFIG": str(self.folder / "stellwerk.toml")}

    def settings(self) -> Settings:
        """The settings, in a process of that environment."""
        return Settings.load()


def _section(name: str, values: Mapping[str, object]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]


@dataclass(frozen=True)
class Serving:
    """A server that is up."""

    url: str
    pid: int
    counts: Path  # where it writes how many tasks its event loop has


@asynccontextmanager
async def serving(place: Place, count: int = 1) -> AsyncIterator[list[Serving]]:
    """So many servers on one database; afterwards they are told to end, and have to.

    Raises:
        RuntimeError: if one does not come up, or does not end as it should.
    """
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_one(place, number)) for number in range(count)]


@asynccontextmanager
async def _one(place: Place, number: int) -> AsyncIterator[Serving]:
    counts, log = place.folder / f"tasks-{number}", place.folder / f"log-{number}"
    with log.open("w") as said:
        process = await asyncio.create_subprocess_exec(
            *command(counts), cwd=place.folder, env=place.environment, stdout=said, stderr=said
        )
    try:
        yield Serving(await _url(process, log), process.pid, counts)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), _UP)
        if code not in (0, -signal.SIGTERM):
            raise RuntimeError(f"the server ended with {code}: {_end(log)}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def command(counts: Path) -> Sequence[str]:
    """`stellwerk serve`, with a count of its tasks."""
    return [sys.executable, "-m", "benchmarks.serving.counted", str(counts), "serve"]


async def _url(process: asyncio.subprocess.Process, log: Path) -> str:
    loop = asyncio.get_running_loop()
    end = loop.time() + _UP
    while loop.time() < end and process.returncode is None:
        if (found := _RUNNING.search(_said(log))) is not None:
            return found[1]
        await asyncio.sleep(0.02)
    raise RuntimeError(f"the server did not come up: {_end(log)}")


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8")


def _end(log: Path) -> str:
    return "\n".join(_said(log).splitlines()[-20:])
