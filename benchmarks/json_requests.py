"""A server's side of one connection on which requests with bodies of JSON follow one upon the other.

asyncio's protocol rather than a web framework: what a server takes of the processor is taken from what is
measured.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class JsonRequests(asyncio.Protocol):
    """Hands on the body of each request."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._read = body[int(length[1]) :]
        self.asked(json.loads(body[: int(length[1])]))

    def asked(self, body: dict[str, Any]) -> None:
        """A request is there."""
        raise NotImplementedError
