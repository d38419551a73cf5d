"""A loopback server that sends prepared answers of the OpenAI chat API, byte for byte, and notes requests."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any] | list[dict[str, Any]] | tuple[int, object]
"""A completion; or the events of a stream; or a status, and what is sent with it."""

DONE: dict[str, Any] = {}
"""The event that ends a stream."""


@dataclass
class Prepared:
    """Answers in the order in which they are sent; the last one is sent again and again."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        """The last request's body."""
        return self.requests[-1][1]


@contextmanager
def serve_prepared(*answers: Answer) -> Iterator[Prepared]:
    """Serve on a free loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            server.requests.append((self.path, body))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            if isinstance(answer, list):
                lines = [f"data: {json.dumps(event) if event else '[DONE]'}\n\n" for event in answer]
                self._send(200, "text/event-stream", "".join(lines))
            else:
                status, value = answer if isinstance(answer, tuple) else (200, answer)
                text = value if isinstance(value, str) else json.dumps(value)
                self._send(status, "application/json", text)

        def _send(self, status: int, kind: str, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Prepared(url=f"http://127.0.0.1:{http.server_port}/v1", answers=list(answers))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def completion(
    message: dict[str, Any] | str, *, finish: str = "stop", logprobs: Any = None, model: str = "small"
) -> dict[str, Any]:
    """An answer in one piece; text stands for a message with that content."""
    content = message if isinstance(message, dict) else {"content": message}
    choice = {
        "index": 0,
        "message": {"role": "assistant", **content},
        "finish_reason": finish,
        "logprobs": logprobs,
    }
    return {**_head("chat.completion", model), "choices": [choice], "usage": USAGE}


def events(
    *deltas: dict[str, Any] | str, finish: str | None = "stop", logprobs: list[Any] | None = None
) -> list[dict[str, Any]]:
    """An answer as a stream; text stands for a delta with that content."""
    pieces = []
    for number, delta in enumerate(deltas):
        content = delta if isinstance(delta, dict) else {"content": delta}
        choice = {"index": 0, "delta": {"role": "assistant", **content}, "finish_reason": None}
        if logprobs:
            choice["logprobs"] = logprobs[number]
        pieces.append({**_head("chat.completion.chunk"), "choices": [choice]})
    if finish:
        end = {"index": 0, "delta": {}, "finish_reason": finish}
        pieces.append({**_head("chat.completion.chunk"), "choices": [end]})
        pieces.append({**_head("chat.completion.chunk"), "choices": [], "usage": USAGE})
        pieces.append(DONE)
    return pieces


USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 7,
    "total_tokens": 107,
    "prompt_tokens_details": {"cached_tokens": 60},
}


def _head(kind: str, model: str = "small") -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model}
