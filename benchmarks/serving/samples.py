"""What a process takes, every few seconds: memory, processor, files, connections, threads, tasks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url, text

from benchmarks.serving.place import Place, Serving
from stellwerk.persistence.urls import parse_url

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Sample:
    """One look at the servers, added up.

    Args:
        at: seconds by the monotonic clock.
        rss: resident memory, MiB.
        cpu: seconds of the processor, since they began.
        files: open file descriptors, sockets among them.
        connections: of them to the database.
        threads: of the operating system.
        tasks: of event loops; 0 if they are not counted.
        busy: seconds that all processors of the machine worked, since it began, whoever for.
    """

    at: float
    rss: float
    cpu: float
    files: int
    connections: int
    threads: int
    tasks: int
    busy: float


class Sampler:
    """Looks at servers. Leave it by `close`."""

    def __init__(self, place: Place, pids: Sequence[int], servers: Sequence[Serving] = ()) -> None:
        self._pids, self._servers = pids, servers
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self._file = str(place.folder / "runs.sqlite")
        if place.database is not None and make_url(place.database).get_backend_name() == "postgresql":
            self._engine = create_engine(parse_url(place.database), isolation_level="AUTOCOMMIT", pool_size=1)
            self._stack.callback(self._engine.dispose)

    def look(self) -> Sample:
        """How things stand. Tasks are those of the look before, as servers say them a moment later."""
        links = [link for pid in self._pids for link in _links(pid)]
        tasks = [_number(server.counts) for server in self._servers]
        for server in self._servers:
            os.kill(server.pid, signal.SIGUSR1)
        status = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids]
        return Sample(
            at=time.monotonic(),
            rss=sum(int(each[21]) for each in status) * _PAGE / 2**20,
            cpu=sum(int(each[11]) + int(each[12]) for each in status) / _TICKS,
            files=len(links),
            connections=self._connected(links),
            threads=sum(int(each[17]) for each in status),
            tasks=sum(tasks),
            busy=_busy(),
        )

    def close(self) -> None:
        """Let go of the database."""
        self._stack.close()

    def _connected(self, links: Sequence[str]) -> int:
        if self._engine is None:
            return links.count(self._file)
        with self._engine.connect() as connection:
            return int(connection.execute(_CONNECTIONS).scalar_one())


def _links(pid: int) -> list[str]:
    found = []
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):
        with suppress(OSError):  # it was closed meanwhile
            found.append(os.readlink(folder / name))
    return found


def _number(file: Path) -> int:
    written = file.read_text() if file.exists() else ""
    return int(written or 0)


def _busy() -> float:
    # user, nice, system, idle, iowait, irq, softirq, steal
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / _TICKS
