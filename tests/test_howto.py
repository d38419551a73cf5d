"""The pages that show how: what they say is done from top to bottom, in a folder of its own.

Files that a page names are written, its programs run, and so do its commands, all in this process. Models are
stand-ins that answer as real ones do.
"""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stellwerk.cli import app
from tests.fake_openai import Body, job_of, prompt_of, serve_openai, title_of
from tests.persistence.conftest import database
from tests.test_docs import ENVIRONMENT, HOW, ROOT, execute, scripted

__all__ = ["scripted"]

BLOCK = re.compile(r"(?:In `([^`]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Commands that only have to parse, by how they begin. Each is a test elsewhere, or starts what has no end.
NOT_RUN = {
    "models pull": "fetches models",
    "tiers check": "asks servers",
    "tiers serve small": "starts a server",
    "serve": "serves until it is stopped",
    "router": "learns from hundreds of traces: tests/cli/test_router.py",
    "traces feedback": "needs an id: tests/cli/test_traces.py",
    "traces judge": "asks a tier: tests/cli/test_traces.py",
    'run "What was the operating profit': "asks the servers of the page",
    "resume invoice-17": "goes on with a run of the page's own program: tests/cli/test_people.py",
}
# Pages that go on where another ends.
AFTER = dict.fromkeys(("report", "studio", "people", "router"), "getting-started")
PRODUCTS = ("desks", "chairs", "lamps", "table", "shelves", "lamp")


def answer(body: Body) -> object:
    """As a model would: a subtask for each line of a task, and the first product that a letter names."""
    if title_of(body) == "plan":
        lines = re.findall(r"^#(\d+) ", prompt_of(body).rpartition("Task:\n")[2], re.MULTILINE)
        schema = json.dumps(body["response_format"])
        worker = "order" if '"order"' in schema else "complaint"
        return {"subtasks": [{"n": int(line), "w": worker, "i": f"#{line}"} for line in lines]}
    product = next(name for name in PRODUCTS if name in job_of(body))
    if title_of(body) == "Order":
        # The smaller model copies a solved case, once.
        copied = product == "table" and body["model"] == "smollm2-135m-model"
        return {"product": "lamps" if copied else product, "pieces": 1}
    return {"product": product, "urgency": "later"}


@pytest.fixture(scope="module")
def tiers() -> Iterator[str]:
    with serve_openai(answer) as server:
        yield json.dumps([server.tier(name) for name in ("smollm2-135m", "qwen2.5-coder-0.5b")])


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, url: str) -> None:
        self.folder, self._patch, self._url = folder, patch, url
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))

    def follow(self, page: Path) -> None:
        for file, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if file:
                Path(file).write_text(text, encoding="utf-8")
            elif language == "python":
                execute(text)
            elif language == "json":
                json.loads(text)
            elif language == "sh":
                for line in text.splitlines():
                    self._command(line)

    def _command(self, line: str) -> None:
        assigned, command = ENVIRONMENT.match(line).groups()  # type: ignore[union-attr]  # it matches anything
        for name, value in (each.split("=", 1) for each in shlex.split(assigned)):
            self._set(name, value)
        words = shlex.split(command, comments=True)
        match words:
            case ["export", assignment]:
                self._set(*assignment.split("=", 1))
            case ["cd", place]:
                self._patch.chdir(place)
            case ["stellwerk", *arguments] if not self._left_out(command.removeprefix("stellwerk ")):
                result = CliRunner().invoke(app, [_substituted(word) for word in arguments])
                assert result.exit_code == 0, f"{line}: {result.output}"

    def _set(self, name: str, value: str) -> None:
        if name == "PYTHONPATH":
            self._patch.syspath_prepend(str(Path(value).resolve()))
        else:
            self._patch.setenv(name, self._url if name == "STELLWERK_DATABASE_URL" else value)

    def _left_out(self, command: str) -> bool:
        return any(command.startswith(begin) for begin in NOT_RUN) and not (
            "--dry-run" in command or command.startswith("serve key")
        )


def _substituted(word: str) -> str:
    """With `$(cat FILE)` as a shell reads it."""
    found = re.fullmatch(r"\$\(cat (\S+)\)", word)
    return Path(found[1]).read_text(encoding="utf-8").rstrip("\n") if found else word


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("page", HOW, ids=lambda page: page.stem)
def test_what_a_page_says_can_be_done(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiers: str
) -> None:
    shutil.copytree(ROOT / "examples" / "orders", tmp_path / "examples" / "orders")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    text = page.read_text(encoding="utf-8")
    if "[tiers." not in text:
        monkeypatch.setenv("STELLWERK_TIERS", tiers)
    if page.stem == "router":  # whose settings leave the database to the reader
        monkeypatch.setenv("STELLWERK_DATABASE", str(tmp_path / "runs.sqlite"))
    before = set(sys.modules)
    with database("postgresql" if page.stem == "postgresql" else "sqlite", tmp_path) as url:
        try:
            reader = Reader(tmp_path, monkeypatch, url)
            if page.stem in AFTER:
                reader.follow(ROOT / "docs" / f"{AFTER[page.stem]}.md")
            reader.follow(page)
        finally:
            # Modules of the folder are not those of the next one.
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                    del sys.modules[name]


def test_no_command_is_left_out_in_vain() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in HOW)
    assert [begin for begin in NOT_RUN if f"stellwerk {begin}" not in text] == []


def test_the_commands_for_the_router_are_those_that_are_tested() -> None:
    """`tests/cli/test_router.py` runs those of the deep page."""
    wanted, tested = (
        set(re.findall(r"^stellwerk router .*$", (ROOT / "docs" / page).read_text(), re.MULTILINE))
        for page in ("howto/router.md", "routing.md")
    )
    assert wanted
    assert wanted <= tested
