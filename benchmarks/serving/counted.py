"""The command line of Stellwerk in a process that says, at SIGUSR1, how many tasks its event loop has.

    python -m benchmarks.serving.counted FILE serve

A signal's handler runs between two steps of the main thread, in which the event loop runs: so nothing is
added to the loop, and no thread takes turns with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from stellwerk.cli import main

_WIDTH = 12  # characters, so that each count covers the one before it


def count_into(path: str) -> None:
    """From now on, write the number of tasks into a file at each SIGUSR1."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def write(*_: object) -> None:
        try:
            found = len(asyncio.all_tasks())
        except RuntimeError:  # no event loop runs yet, or any more
            return
        os.pwrite(file, str(found).ljust(_WIDTH).encode(), 0)

    signal.signal(signal.SIGUSR1, write)


if __name__ == "__main__":
    count_into(sys.argv.pop(1))
    main()
