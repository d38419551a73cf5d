"""A loopback server that speaks enough of the OpenAI chat API to stand in for any tier."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stellwerk.tiers.probe_reach import AGENT

Body = dict[str, Any]
Answer = Callable[[Body], object]
"""Gets the request; returns the answer as text, as `ToolCalls`, or as a value that is sent as JSON."""


class ToolCalls(list[tuple[str, str]]):
    """An answer that asks for tools: the name of each, and its arguments as the model wrote them."""

    def message(self) -> dict[str, Any]:
        """As the API sends it."""
        calls = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(self)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}


class RefusalError(Exception):
    """Raised by an answer function to send an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class FakeOpenAI:
    """What the server was asked. `usage` is sent with every answer."""

    url: str
    answer: Answer
    requests: list[Body] = field(default_factory=list)
    probes: list[Body] = field(default_factory=list)  # what was asked to find out what the server can do
    keys: set[str] = field(default_factory=set)
    usage: dict[str, int] = field(default_factory=lambda: {"prompt": 100, "cached": 60, "completion": 10})
    delay: float = 0.0  # seconds before each answer

    def asked(self, title: str) -> list[Body]:
        """Requests whose schema has this title."""
        return [body for body in self.requests if title_of(body) == title]

    def tier(self, name: str, **fields: object) -> dict[str, object]:
        """A tier on this server, as `STELLWERK_TIERS` lists it."""
        return {"name": name, "base_url": self.url, "model": f"{name}-model", **fields}


def title_of(body: Body) -> str:
    """The title of the schema that the answer has to follow; empty for free text."""
    return str(body.get("response_format", {}).get("json_schema", {}).get("name", ""))


def prompt_of(body: Body) -> str:
    """All text of the request."""
    return "\n".join(message["content"] or "" for message in body["messages"])


def job_of(body: Body) -> str:
    """The instruction of the subtask that is asked for."""
    return prompt_of(body).rsplit("Job: ", 1)[-1].split("\nAnswer:")[0]


@contextmanager
def serve_openai(answer: Answer) -> Iterator[FakeOpenAI]:
    """Serve on a free loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("User-Agent") == AGENT:
                fake.probes.append(body)
                self._send(503, "application/json", {"error": {"message": "busy"}})  # so nothing is known
                return
            fake.requests.append(body)
            fake.keys.add(self.headers.get("Authorization", ""))
            time.sleep(fake.delay)
            try:
                value = fake.answer(body)
            except RefusalError as refusal:
                self._send(refusal.status, "application/json", {"error": {"message": str(refusal)}})
                return
            text = value if isinstance(value, str) else json.dumps(value)
            if body.get("stream"):
                self._stream(body, value if isinstance(value, ToolCalls) else text)
            else:
                message, finish = {"role": "assistant", "content": text}, "stop"
                if isinstance(value, ToolCalls):
                    message, finish = value.message(), "tool_calls"
                choice = {"index": 0, "message": message, "finish_reason": finish}
                self._send(200, "application/json", _completion(body, [choice], "chat.completion", usage()))

        def _stream(self, body: Body, said: str | ToolCalls) -> None:
            message: dict[str, Any] = {"role": "assistant", "content": said}
            finish = "stop"
            if isinstance(said, ToolCalls):
                message, finish = said.message(), "tool_calls"
                message["tool_calls"] = [
                    {"index": index, **call} for index, call in enumerate(message["tool_calls"])
                ]
            delta = {"index": 0, "delta": message, "finish_reason": None}
            end = {"index": 0, "delta": {}, "finish_reason": finish}
            kind = "chat.completion.chunk"
            pieces = [_completion(body, [choice], kind, None) for choice in (delta, end)]
            pieces.append(_completion(body, [], kind, usage()))
            lines = [f"data: {json.dumps(piece)}\n\n" for piece in pieces]
            self._send(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))

        def _send(self, status: int, kind: str, content: object) -> None:
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                pass  # the client was interrupted, which some tests do on purpose

        def log_message(self, format: str, *args: object) -> None:
            pass

    def usage() -> dict[str, Any]:
        counts = fake.usage
        return {
            "prompt_tokens": counts["prompt"],
            "completion_tokens": counts["completion"],
            "total_tokens": counts["prompt"] + counts["completion"],
            "prompt_tokens_details": {"cached_tokens": counts["cached"]},
        }

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        fake = FakeOpenAI(url=f"http://127.0.0.1:{server.server_port}/v1", answer=answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def _completion(
    body: Body, choices: list[dict[str, Any]], kind: str, usage: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": "chatcmpl-0",
        "object": kind,
        "created": 0,
        "model": body["model"],
        "choices": choices,
        "usage": usage,
    }
