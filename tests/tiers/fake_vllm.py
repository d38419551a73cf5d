"""A stand-in for the `vllm` command: it listens, answers /health, and misbehaves as FAKE_VLLM says.

It imports nothing of the project, so that it starts at once; tests run it as a process of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE = os.environ.get("FAKE_VLLM", "")
ARGUMENTS = sys.argv[1:]


def option(name: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(name) + 1]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(7)
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    with open(os.environ["FAKE_VLLM_LOG"], "a") as log:
        # One line at each start.
        json.dump({"pid": os.getpid(), "arguments": ARGUMENTS, "environment": dict(os.environ)}, log)
        log.write("\n")
    print("loading the weights", flush=True)
    print(f"the key is {os.environ.get('VLLM_API_KEY')}", flush=True)
    if MODE == "usage":
        print("unrecognized arguments: --nonsense", flush=True)
        sys.exit(2)
    if MODE == "crash":
        print("CUDA out of memory", flush=True)
        sys.exit(3)
    if MODE == "deaf":
        time.sleep(600)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # As an engine core would: it holds the GPU, and nobody tells it that its parent is gone.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(4))
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    server = ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler)
    server.serve_forever()


main()
