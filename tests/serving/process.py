"""`stellwerk serve` as a process of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


@contextmanager
def serve_process(
    folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server in a folder, and a client of it; it is killed in the end, if it has not ended by then."""
    server = subprocess.Popen(
        [sys.executable, "-m", "stellwerk.cli", "serve"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert server.stderr is not None
    url = ""
    said = []
    for line in server.stderr:
        said.append(line)
        if "running on " in line:
            url = line.split("running on ")[1].split()[0]
            break
    assert url, "".join(said)
    rest = threading.Thread(target=server.stderr.read, daemon=True)  # or its pipe would be full
    rest.start()
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield server, client
    finally:
        server.kill()
        server.wait()
        rest.join()
        server.stderr.close()
