"""`stellwerk tiers serve`, as a process with a stand-in for vLLM: real signals, real ports, real crashes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app

pytestmark = pytest.mark.skipif(os.name != "posix", reason="vLLM and process groups are POSIX")

FAKE = Path(__file__).parents[1] / "tiers" / "fake_vllm.py"
PATIENCE = 60.0  # seconds; only a broken test waits so long


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Place:
    """A working directory with settings and a `vllm` on the path."""

    folder: Path
    port: int

    def write(self, serve: str = "", tier: str = "") -> None:
        (self.folder / "stellwerk.toml").write_text(
            f"""
            [tiers.small]
            kind = "vllm"
            model = "Qwen/Qwen2.5-3B-Instruct"
            url = "http://127.0.0.1:{self.port}/v1"
            context_window = 4096
            max_concurrency = 8
            {tier}
            [tiers.small.serve]
            grace = 20
            {serve}
            [tiers.tiny]
            kind = "embedded"
            model = "smollm2-135m"
            [tiers.large]
            model = "gpt-4.1"
            """,
            encoding="utf-8",
        )
        (self.folder / "stellwerk.toml").chmod(0o644)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What each start of the server was given."""
        log = self.folder / "starts.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    programs = tmp_path / "bin"
    programs.mkdir()
    vllm = programs / "vllm"
    vllm.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{FAKE}" "$@"\n')
    vllm.chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("STELLWERK_", "FAKE_VLLM")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VLLM_LOG", str(tmp_path / "starts.jsonl"))
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    found = Place(tmp_path, free_port())
    found.write()
    return found


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


class Serving:
    """A running `stellwerk tiers serve small`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        return self._log.read_text()

    def wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def wait_for(self, text: str, times: int = 1) -> None:
        def there() -> bool:
            if (found := self.said().count(text) >= times) or self.process.poll() is None:
                return found
            assert self.said().count(text) >= times, self.said()
            return True

        self.wait(there)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def serving(place: Place, *arguments: str) -> Iterator[Serving]:
    log = place.folder / "said"
    with open(log, "w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "stellwerk.cli", "tiers", "serve", "small", *arguments],
            stderr=said,
            stdout=said,
            text=True,
        )
        try:
            yield Serving(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)
            for start in place.starts:
                assert gone(start["pid"])


def gone(group: int) -> bool:
    """Whether every process of a group has ended; a zombie has."""
    alive = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(member_of) == group and state != "Z":
            alive.append(status)
    return not alive


def crash(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/crash")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 4), (signal.SIGHUP, 4)])
def test_a_signal_goes_to_the_server_and_its_exit_code_comes_back(
    place: Place, number: int, code: int
) -> None:
    with serving(place) as server:
        server.wait_for(f"small: ready on 127.0.0.1:{place.port} after")
        assert "loading the weights" in server.said()  # the server's own lines are shown
        server.signal(number)
        assert server.code() == code
    assert len(place.starts) == 1


@pytest.mark.slow
def test_a_server_that_ignores_signals_is_killed_with_its_children(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(serve="")
    monkeypatch.setenv("FAKE_VLLM", "stubborn")
    monkeypatch.setenv("STELLWERK_TIERS__SMALL__SERVE__GRACE", "0.3")
    with serving(place) as server:
        server.wait_for("small: ready")
        server.signal(signal.SIGTERM)
        assert server.code() == 128 + signal.SIGKILL
        assert gone(place.starts[0]["pid"])


@pytest.mark.slow
def test_a_second_signal_does_not_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "stubborn")
    monkeypatch.setenv("STELLWERK_TIERS__SMALL__SERVE__GRACE", "3600")
    with serving(place) as server:
        server.wait_for("small: ready")
        server.signal(signal.SIGINT)
        server.wait_for("until it is killed")
        server.signal(signal.SIGINT)
        assert server.code() == 128 + signal.SIGKILL


@pytest.mark.slow
def test_a_server_that_dies_is_started_again(place: Place) -> None:
    with serving(place) as server:
        server.wait_for("small: ready")
        crash(place.port)
        server.wait_for("small: ended with 7; started again in 1 s")
        server.wait_for("small: ready", times=2)
        os.kill(place.starts[1]["pid"], signal.SIGKILL)
        server.wait_for("small: ended with 137; started again in 2 s")
        server.wait_for("small: ready", times=3)
        server.signal(signal.SIGINT)
        assert server.code() == 0
    assert len(place.starts) == 3


@pytest.mark.slow
def test_a_signal_between_two_starts_ends_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "crash")
    with serving(place) as server:
        server.wait_for("started again in 2 s")
        server.signal(signal.SIGTERM)
        assert server.code() == 128 + signal.SIGTERM


def test_it_gives_up_with_the_last_lines(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "crash")
    place.write(serve="max_restarts = 1")
    result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 3
    assert "small: ended with 3, 2 times in a row; given up" in result.stderr
    assert "  CUDA out of memory" in result.stderr
    assert len(place.starts) == 2


def test_a_command_line_that_vllm_refuses_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "usage")
    result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 2
    assert "unrecognized arguments: --nonsense" in result.stderr
    assert len(place.starts) == 1


def test_a_server_that_never_becomes_healthy_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "deaf")
    place.write(serve="ready_timeout = 1.5")
    result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 1
    assert "  loading the weights" in result.stderr
    assert "tier 'small' is not healthy after 1.5 s" in result.stderr
    assert gone(place.starts[0]["pid"])


def test_a_port_that_is_taken_is_not_mistaken_for_the_server(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 2
    assert f"something listens on 127.0.0.1:{place.port} already" in result.stderr
    assert place.starts == []


def test_no_vllm_says_how_to_get_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.folder))
    result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 1
    assert "vllm is not installed; run: pip install 'stellwerk[vllm]'" in result.stderr


def test_a_command_can_be_read_where_the_key_is_not(place: Place, tmp_path: Path) -> None:
    place.write(tier=f'api_key_file = "{tmp_path / "nowhere"}"')
    result = stellwerk("tiers", "serve", "small", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("VLLM_API_KEY=*** vllm serve ")
    assert "nowhere, which cannot be read" in result.stderr
    result = stellwerk("tiers", "serve", "small")
    assert result.exit_code == 2
    assert place.starts == []


@pytest.mark.slow
def test_the_key_goes_by_the_environment_and_is_never_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(tier='api_key_env = "SMALL_KEY"')
    for name, value in {"SMALL_KEY": "tell-nobody", "OPENAI_API_KEY": "of-openai", "HF_TOKEN": "hub"}.items():
        monkeypatch.setenv(name, value)
    dry = stellwerk("tiers", "serve", "small", "--dry-run")
    assert dry.exit_code == 0
    assert dry.stdout.startswith("VLLM_API_KEY=*** vllm serve Qwen/Qwen2.5-3B-Instruct --served-model-name")
    assert place.starts == []
    with serving(place) as server:
        server.wait_for("small: ready")
        server.wait_for("the key is ***")  # this server prints it
        server.signal(signal.SIGINT)
        assert server.code() == 0
        assert "tell-nobody" not in dry.output + server.said()
    (start,) = place.starts
    assert "tell-nobody" not in " ".join(start["arguments"])
    assert start["environment"]["VLLM_API_KEY"] == "tell-nobody"
    assert start["environment"]["HF_TOKEN"] == "hub"
    assert not {"SMALL_KEY", "OPENAI_API_KEY"} & start["environment"].keys()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "tier 'tiny' is embedded: llama.cpp runs inside each process that uses it"),
        ("large", "tier 'large' is of kind 'openai', a server that is there already"),
        ("smal", "there is no tier 'smal'; did you mean small? tiers: small, tiny, large"),
    ],
)
def test_what_cannot_be_served_is_named(place: Place, name: str, said: str) -> None:
    result = stellwerk("tiers", "serve", name)
    assert result.exit_code == 2
    assert said in result.stderr


def test_names_of_tiers_are_completed(place: Place) -> None:
    from stellwerk.cli.serve import tier_names

    assert tier_names("") == ["small"]
    assert tier_names("x") == []
    (place.folder / "stellwerk.toml").write_text("not toml")
    assert tier_names("") == []
