import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from stellwerk import TierError, embedded_ladder
from stellwerk.tiers.tokenizers import served_tokenizer


class Words(BaseHTTPRequestHandler):
    """Counts words as a server counts tokens: in vLLM's form for a model, else in llama.cpp's."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["prompt"].split()
        if self.path != "/tokenize" or not words:
            self.send_error(404)
            return
        answer: dict[str, Any] = {"tokens": [1] * len(words)}
        if "model" in body:
            answer = {"count": len(words), "tokens": []}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Words)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_kinds_of_server_count(url: str) -> None:
    assert served_tokenizer(url)("one two three") == 3
    assert served_tokenizer(f"{url}/v1/", model="m")("one two") == 2


def test_a_server_that_does_not_count_is_named(url: str) -> None:
    with pytest.raises(TierError, match=r"/tokenize counts no tokens: HTTPStatusError"):
        served_tokenizer(url)("")
    with pytest.raises(TierError, match="counts no tokens: ConnectError"):
        served_tokenizer("http://127.0.0.1:9")("text")


@pytest.mark.model
def test_an_embedded_model_counts_as_it_reads() -> None:
    count = embedded_ladder(["smollm2-135m"])[0].tokenizer
    assert count is not None
    assert count("hello world, this is") == 5
    assert count("word " * 500) > 400
