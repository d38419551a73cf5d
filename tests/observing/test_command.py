"""The command line sends what its settings say, and logs as it is told."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.cli.test_run import PLAN, TEXT, answer
from tests.fake_openai import serve_openai

KEY = "sk-0123456789-never-sent-to-a-collector"


class Collector:
    def __init__(self) -> None:
        self.received: dict[str, list[bytes]] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.received.setdefault(self.path, []).append(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def stellwerk(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stellwerk.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.server
def test_a_run_is_sent_to_the_collector(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text(TEXT)
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    with serve_openai(answer) as server:
        result = stellwerk(
            "run", "Both?", "--file", str(tmp_path / "page.txt"), "--plan", str(tmp_path / "plan.json"),
            STELLWERK_TIERS=json.dumps([server.tier("small", api_key_env="SMALL_KEY")]),
            STELLWERK_DATABASE=str(tmp_path / "runs.sqlite"),
            STELLWERK_OBSERVABILITY='{"opentelemetry": true}',
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            SMALL_KEY=KEY,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Sales were 100 dollars" in result.stdout
    names, services = [], set()
    for body in collector.received["/v1/traces"]:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            names += [span.name for scope in resource.scope_spans for span in scope.spans]
    assert services == {"stellwerk"}
    assert names.count("invoke_agent extract") == 2
    assert {"invoke_workflow orchestrator", "attempt small", "chat small-model"} <= set(names)
    assert collector.received["/v1/metrics"]
    for body in (each for bodies in collector.received.values() for each in bodies):
        assert KEY.encode() not in body
        assert b"dollars" not in body


@pytest.mark.server
def test_what_is_logged_is_json_where_that_is_wanted(tmp_path: Path) -> None:
    settings = tmp_path / "stellwerk.toml"
    settings.write_text('models = ["smollm2-135m"]\n[router]\nname = "learned"\nquality_floor = 0.9\n')
    arguments = ("--config", str(settings), "config", "check")
    told = {"STELLWERK_DATABASE": str(tmp_path / "runs.sqlite"), "STELLWERK_LOG_FORMAT": "json"}
    (line,) = [line for line in stellwerk(*arguments, **told).stderr.splitlines() if "router" in line]
    logged = json.loads(line)
    assert (logged["level"], logged["logger"]) == ("warning", "stellwerk.graphs.declared")
    assert "no router is promoted yet" in logged["message"]


def test_a_package_that_is_absent_is_named(tmp_path: Path) -> None:
    hidden = tmp_path / "prometheus_client.py"
    hidden.write_text("raise ImportError('hidden')")
    result = stellwerk(
        "config",
        "check",
        STELLWERK_OBSERVABILITY='{"prometheus": true}',
        PYTHONPATH=f"{tmp_path}:{os.getcwd()}",
    )
    assert result.returncode == 2
    assert "pip install 'stellwerk[metrics]'" in result.stderr
