"""A loopback server that does, ignores or refuses what a test wants, to be probed."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Body = dict[str, Any]
Way = Literal["do", "ignore", "refuse"]

CARD = {"id": "m", "object": "model", "owned_by": "vllm", "parent": None, "max_model_len": 4096}
METRICS = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0.0\n"


@dataclass(kw_only=True)
class Probed:
    """How the server behaves, and what it was asked.

    `special` may answer any chat request in another way: with a status and a text, or None for the usual one.
    """

    url: str = ""
    model: str = "m"
    json_schema: Way = "do"
    structured_outputs: Way = "do"
    guided_json: Way = "do"
    patterns: Way = "do"
    named: Way = "do"
    required: Way = "do"
    strict: Way = "do"
    auto: Way = "do"
    both: Way = "do"
    logprobs: Way = "do"
    usage: Way = "do"
    cached: bool = True
    old_names: bool = True  # whether `max_tokens` and `temperature` are taken
    gets: dict[str, tuple[int, str]] = field(default_factory=dict)
    posts: dict[str, tuple[int, str]] = field(default_factory=dict)
    special: Callable[[Body], tuple[int, str] | None] = lambda body: None
    chats: list[Body] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gets = {
            "/v1/models": (200, json.dumps({"object": "list", "data": [CARD]})),
            "/version": (200, '{"version": "0.32.0"}'),
            "/metrics": (200, METRICS),
            **self.gets,
        }
        self.posts = {
            "/tokenize": (200, '{"count": 2, "tokens": [1, 2]}'),
            "/v1/load_lora_adapter": (400, error("Both 'lora_name' and 'lora_path' must be provided.")),
            **self.posts,
        }

    def is_version(self, version: str) -> None:
        """From now on."""
        self.gets["/version"] = (200, json.dumps({"version": version}))

    def forget(self) -> None:
        """What was asked so far."""
        self.chats.clear()
        self.paths.clear()


def error(message: str) -> str:
    """An error as the API words it."""
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}})


def kind(body: Body) -> str:
    """Which question a request belongs to."""
    tools, choice = "tools" in body, body.get("tool_choice")
    if tools and "response_format" in body:
        return "both"
    if tools:
        return "auto" if choice is None else "required" if choice == "required" else "named"
    if "response_format" in body:
        return "patterns" if "pattern" in json.dumps(body) else "json_schema"
    return next(
        (name for name in ("structured_outputs", "guided_json", "logprobs", "stream") if name in body),
        "plain",
    )


@contextmanager
def serve_probed(**ways: Any) -> Iterator[Probed]:
    """Serve on a free loopback port until the block ends."""
    probed = Probed(**ways)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet; two would cost 40 ms, as TCP waits for the second

        def do_GET(self) -> None:
            self._note()
            self._send(*probed.gets.get(self.path, (404, '{"detail": "Not Found"}')))

        def do_POST(self) -> None:
            self._note()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self._send(*probed.posts.get(self.path, (404, '{"detail": "Not Found"}')))
                return
            probed.chats.append(body)
            self._send(*(probed.special(body) or chat(probed, body)))

        def _note(self) -> None:
            probed.paths.append(self.path)
            probed.keys.add(self.headers.get("Authorization", ""))

        def _send(self, status: int, text: str) -> None:
            data = text.encode()
            try:
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                pass  # the client has had enough

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        probed.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield probed
        finally:
            server.shutdown()
            thread.join()


def chat(server: Probed, body: Body) -> tuple[int, str]:
    """The answer of a model that says hello unless it is held to something else."""
    if not server.old_names and "max_tokens" in body:
        return 400, error("Unsupported parameter: 'max_tokens'; use 'max_completion_tokens'")
    if body.get("max_tokens", 0) > 4096:
        return 400, error("max_tokens=10000000 cannot be greater than max_model_len=4096.")
    asked = kind(body)
    way: Way = getattr(server, asked, "do") if asked != "stream" else server.usage
    if way == "refuse":
        return 400, error(f"{refused_name(asked)} is not supported by this model")
    if asked == "named" and server.strict == "refuse" and "strict" in json.dumps(body):
        return 400, error("Unknown parameter: tools[0].function.strict")
    if asked == "stream":
        return 200, stream(server)
    text, call = "hello", None
    if way == "do":
        match asked:
            case "json_schema":
                text = obeyed(body["response_format"]["json_schema"]["schema"])
            case "patterns":
                schema = body["response_format"]["json_schema"]["schema"]
                first = re.findall(r"\w+", schema["properties"]["mark"]["pattern"])[0]
                text = json.dumps(
                    {"code": schema["properties"]["code"]["enum"][0], "mark": f"{first}_{first}"}
                )
            case "structured_outputs":
                text = obeyed(body["structured_outputs"]["json"])
            case "guided_json":
                text = obeyed(body["guided_json"])
            case "auto" | "named" | "required" | "both":
                function = body["tools"][-1]["function"]
                kept = server.strict == "do" and function.get("strict")
                call = function["name"], obeyed(function["parameters"]) if kept else '"as I like"'
    elif asked == "auto":
        text = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    elif asked == "both":
        text = obeyed(body["response_format"]["json_schema"]["schema"])
    return 200, completion(server, text, call, logprobs=asked == "logprobs" and way == "do")


def refused_name(asked: str) -> str:
    """What an error calls the parameter."""
    tools = ("named", "required", "auto", "both")
    return "tool_choice" if asked in tools else "response_format" if asked == "patterns" else asked


def obeyed(schema: Body) -> str:
    """The only answer to a schema of `enum`s, indented as some servers do it."""
    values = {name: each.get("enum", ["Paris"])[0] for name, each in schema["properties"].items()}
    return json.dumps(values, indent=2)


def completion(
    server: Probed, text: str, call: tuple[str, str] | None = None, *, logprobs: bool = False
) -> str:
    """A chat completion."""
    message: Body = {"role": "assistant", "content": text}
    if call is not None:
        function = {"name": call[0], "arguments": call[1]}
        message |= {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    choice: Body = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    if logprobs:
        choice["logprobs"] = {"content": [{"token": "hello", "logprob": -0.5}]}
    usage: Body = {"prompt_tokens": 400, "completion_tokens": 4, "total_tokens": 404}
    if server.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": 384}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage})


def stream(server: Probed) -> str:
    """The same in pieces."""
    pieces: list[Body] = [{"choices": [{"index": 0, "delta": {"content": "hello"}}], "usage": None}]
    if server.usage == "do":
        pieces.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})
    return "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
