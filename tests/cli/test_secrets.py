"""A secret that is set in the environment or a file appears in nothing that Stellwerk writes or prints."""

import gzip
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from typer.testing import CliRunner

from stellwerk.cli import app
from stellwerk.errors import TierError
from stellwerk.graphs.default import default_ladder
from stellwerk.settings import Settings
from stellwerk.tiers.tier import Request
from tests.fake_openai import Body, FakeOpenAI, RefusalError, serve_openai, title_of

IN_ENVIRONMENT = "sk-proj-EnvironmentSecret0123456789"
IN_FILE = "FileSecret-0123456789"
PASSWORD = "PasswordSecret0123"
SECRETS = (IN_ENVIRONMENT, IN_FILE, PASSWORD)

# Logging as talkative as it gets, in every library.
MAIN = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from stellwerk.cli import main
main()
"""


def answer(body: Body) -> object:
    """A server that repeats the key that it was given when it refuses, as some do; then one that answers."""
    if body["model"] == "small-model":
        raise RefusalError(
            401, f"Incorrect API key provided: {IN_ENVIRONMENT}. You can find yours elsewhere."
        )
    if title_of(body) == "plan":
        step = {"id": "a", "worker": "write", "instruction": "Greet Ada", "depends_on": []}
        return {"subtasks": [step]}
    if body["model"] == "middle-model":
        raise RefusalError(400, f"internal error: authorization was Bearer {IN_FILE}")
    return {"text": "Hello Ada."}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


@pytest.fixture
def environment(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in list(os.environ):
        if name.startswith("STELLWERK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMALL_KEY", IN_ENVIRONMENT)
    monkeypatch.setenv("OPENAI_LOG", "debug")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "large.key").write_text(IN_FILE)
    port = server.url.split(":")[2].split("/")[0]
    Path("stellwerk.toml").write_text(
        f"""
        database = "runs.sqlite"
        [tiers.small]
        kind = "vllm"
        model = "small-model"
        url = "http://127.0.0.1:{port}/v1"
        api_key_env = "SMALL_KEY"
        [tiers.middle]
        model = "middle-model"
        url = "{server.url}"
        api_key_file = "large.key"
        [tiers.large]
        model = "large-model"
        url = "{server.url}"
        api_key_file = "large.key"
        """
    )
    Path("stellwerk.toml").chmod(0o644)
    return dict(os.environ)


class Output:
    """All that commands said, and all that they left on the disk."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def run(self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments], capture_output=True, check=False, env=environment
        )
        assert done.returncode == code, done.stderr.decode()
        self.said[" ".join(arguments)] = done.stdout + done.stderr
        return done.stdout.decode()

    def ask(self, *arguments: str) -> str:
        """As `run`, in this process: for commands that call no server."""
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        self.said[" ".join(arguments)] = done.output.encode()
        return done.output

    def check(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "large.key":
                self.said[str(path)] = (
                    gzip.decompress(data) if (data := path.read_bytes())[:2] == b"\x1f\x8b" else data
                )
        for where, said in self.said.items():
            for secret in SECRETS:
                # The middle of it, too: a key that was cut is still half a key.
                for part in (secret, secret[6:22]):
                    assert part.encode() not in said, f"{where} has {part}"


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_no_secret_in_anything_that_is_printed_or_stored(server: FakeOpenAI, tmp_path: Path) -> None:
    output = Output()
    run = json.loads(output.run("run", "Say hello to Ada", "--thread", "t", "--json"))
    # Both failures happened, and their errors are in what was stored.
    (result,) = run["results"].values()
    assert [attempt["tier"] for attempt in result["attempts"]] == ["small", "middle", "large"]
    assert server.keys == {f"Bearer {IN_ENVIRONMENT}", f"Bearer {IN_FILE}"}
    assert "Incorrect API key provided: ***" in json.dumps(run)
    for command in (
        "runs list --json",
        "runs show t --json",
        "traces list --json",
        "traces export traces.jsonl",
        "db stats",
        "config show",
        "config show --json",
        "config check",
    ):
        output.ask(*command.split())
    assert "VLLM_API_KEY=***" in output.ask("tiers", "serve", "small", "--dry-run")
    output.check(tmp_path)


@pytest.mark.slow
def test_no_password_of_a_database_that_cannot_be_reached(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output()
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:1/runs"
    given = {**environment, "STELLWERK_DATABASE_URL": url}
    output.run("run", "Say hello", code=1, environment=given)
    monkeypatch.setenv("STELLWERK_DATABASE_URL", url)
    output.ask("config", "show", "--json")
    output.ask("config", "check")
    output.check(tmp_path)


@pytest.mark.usefixtures("environment")
def test_no_secret_in_an_error_or_its_traceback() -> None:
    tier = default_ladder(Settings.load())[0]
    with pytest.raises(TierError) as caught:
        tier.call(Request(messages=[HumanMessage("Hello")]))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "Incorrect API key provided: ***" in told
    assert IN_ENVIRONMENT not in told


@pytest.mark.usefixtures("environment")
def test_no_secret_in_the_representation_of_anything() -> None:
    settings = Settings.load(database_url=f"postgresql://me:{PASSWORD}@host/runs")
    ladder = default_ladder(settings)
    told = (
        repr(settings) + str(settings) + settings.model_dump_json() + "".join(repr(tier) for tier in ladder)
    )
    for secret in SECRETS:
        assert secret not in told
