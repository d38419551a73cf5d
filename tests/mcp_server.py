"""A real MCP server, for tests.

`python -m tests.mcp_server` speaks over its standard input and output; with `--http` it says on which port of
this machine it is served, over HTTP.
"""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

FOLDER = Path(os.environ.get("FOLDER", "."))

server = FastMCP("shelf", log_level="ERROR", host="127.0.0.1")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def process() -> str:
    """The number of the server's process."""
    return str(os.getpid())


@server.tool()
def fail() -> str:
    """Fail, and quote a key."""
    raise ValueError(f"refused: the key {os.environ.get('KEY', 'none')} is not valid")


@server.tool()
def die() -> str:
    """End the server's process."""
    os._exit(3)


@server.tool()
async def wait(name: str) -> str:
    """Say that it waits, and wait for a file."""
    (FOLDER / f"waits for {name}").touch()
    while not (FOLDER / name).exists():  # noqa: ASYNC110  # which another process makes
        await asyncio.sleep(0.01)
    return f"{name} is there"


@server.tool()
def hang() -> str:
    """Take longer than anybody waits."""
    time.sleep(60)
    return "too late"


@server.tool(annotations=ToolAnnotations(readOnlyHint=False))
def note(text: str) -> str:
    """Write a line."""
    with (FOLDER / "notes").open("a") as file:
        file.write(f"{text}\n")
    return f"noted {text}"


@server.tool(name="books.count")
def count_books() -> int:
    """Count the books."""
    return 12


if __name__ == "__main__":
    if "FOLDER" in os.environ:
        (FOLDER / "pid").write_text(str(os.getpid()))
    if os.environ.get("REFUSE"):
        sys.exit(f"cannot start with key {os.environ['REFUSE']}")
    if "--http" in sys.argv:
        import uvicorn

        listening = socket.create_server(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(server.streamable_http_app(), log_level="error")
        uvicorn.Server(config).run(sockets=[listening])
    else:
        server.run()
