"""Clients of LangServe's routes: LangServe's own, and plain HTTP."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from langserve import RemoteRunnable
from langserve.lzstring import LZString

from tests.serving.served import Site

LZ: Any = LZString  # which has no types


@contextmanager
def remote(place: Site, path: str = "orchestrator") -> Iterator[RemoteRunnable[Any, Any]]:
    """LangServe's client, of Ada."""
    made = RemoteRunnable[Any, Any](
        f"{place.url}/{path}",
        headers={"Authorization": f"Bearer {place.keys['ada']}"},
        timeout=20,
        client_kwargs={"trust_env": False},
    )
    with made.sync_client:
        yield made


@asynccontextmanager
async def aremote(place: Site, path: str = "orchestrator") -> AsyncIterator[RemoteRunnable[Any, Any]]:
    """As `remote`; left to itself, the client closes its connections when their loop has gone."""
    with remote(place, path) as made:
        async with made.async_client:
            yield made


def on(thread: str, **more: Any) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread, **more}}


def hashed(config: Any) -> str:
    """A config as the playground puts it into a path."""
    return str(LZ.compressToEncodedURIComponent(json.dumps(config)))


def told(response: httpx.Response) -> list[tuple[str, Any]]:
    """Names and values of the events of a stream, to its end; heartbeats are left out."""
    found = []
    for block in "".join(response.iter_text()).split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in lines:
            found.append((lines["event"], json.loads(lines.get("data", "null"))))
    return found
