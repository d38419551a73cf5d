"""Processes for tests: forks of one that has imported everything, as to import it takes each two seconds.

They share nothing with the process of the tests: the one that is forked has no thread and no open database.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "tests.persistence.run_process",
        "tests.persistence.kills",
        "tests.persistence.test_trace_wiring",
        "alembic.command",
        "psycopg",
        "pymysql",
    ]
)


class Process:
    """One that is talked to by lines: what it prints, and what it reads from its standard input."""

    def __init__(self, process: BaseProcess, socket: int) -> None:
        self._process = process
        self._lines = os.fdopen(os.dup(socket))
        self._input = os.fdopen(os.dup(socket), "w")

    def hears(self) -> None:
        """Let it go on."""
        self._input.write("go\n")
        self._input.flush()

    def says(self) -> str:
        """Its next line, on either output; empty at its end."""
        return self._lines.readline().strip()

    def ends(self) -> tuple[str, int | None]:
        """What it still says, and the code that it ends with."""
        said = self._lines.read()
        self._process.join(60)
        return said, self._process.exitcode

    def signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def close(self) -> None:
        if self._process.is_alive():
            self.signal(signal.SIGKILL)
        self._process.join(60)
        self._lines.close()
        self._input.close()


@contextmanager
def process(work: Callable[..., object], *arguments: object) -> Iterator[Process]:
    """A process that does some work, and is killed afterwards."""
    ours, theirs = _CONTEXT.Pipe()
    made = _CONTEXT.Process(target=_main, args=(theirs, work, arguments))
    made.start()
    theirs.close()
    started = Process(made, ours.fileno())
    ours.close()
    try:
        yield started
    finally:
        started.close()


def _main(connection: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    sys.stdin = os.fdopen(os.dup(connection.fileno()))
    sys.stdout = sys.stderr = os.fdopen(os.dup(connection.fileno()), "w", buffering=1)
    connection.close()
    work(*arguments)
