"""The documentation tells the truth: its snippets run, its commands parse, its links lead somewhere."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from langchain_core.messages import AIMessage, ToolCall, ToolMessage

import stellwerk
from stellwerk.cli import app
from stellwerk.tiers.tier import Reply, Request, Tier

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "python_api.py"
DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
# What these show is done from top to bottom: tests/test_howto.py.
HOW = [ROOT / "docs" / "getting-started.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
ENVIRONMENT = re.compile(r"((?:[A-Z_]+=\S* )*)(.*)")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

PLAN = {
    "subtasks": [
        {"id": "profit", "worker": "look_up", "instruction": "#1", "depends_on": []},
        {"id": "growth", "worker": "calculate", "instruction": "#2", "depends_on": []},
    ]
}
# What a model might answer to the questions in the documentation, by the title of the schema asked for.
ANSWERS: Mapping[str, object] = {
    "plan": PLAN,
    "cells": {"rows": ["Operating profit"], "columns": ["2024"]},
    "calculation": {"answer": {"rows": ["Revenue"], "columns": ["2024", "2023"]}},
    "Offer": {"euros": 349.0, "pieces": 12},
    "Order": {"product": "desks", "pieces": 40},
    "Complaint": {"product": "lamp", "urgency": "later"},
    "Paid": {"done": True},
    "Figure": {"figure": "6,205"},
}
# What it asks its tools first, by their names.
ASKED: Mapping[str, dict[str, Any]] = {
    "price": {"product": "desk"},
    "stock": {"product": "desk"},
    "pay": {"euros": 120},
    "transfer": {"invoice": "17", "euros": 120.0},
}
TEXT = "The operating profit was 6,205 thousand euros."


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def snippets(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        if path not in HOW
        for number, block in enumerate(blocks(path, language), 1)
        if "RemoteRunnable" not in block  # which calls a server: tests/serving/test_serving_docs.py has one
    ]


def commands(program: str) -> list[Any]:
    lines = [
        ENVIRONMENT.sub(r"\2", line)
        for path in DOCUMENTS
        for block in blocks(path, "sh")
        for line in block.splitlines()
    ]
    return [
        pytest.param(shlex.split(line, comments=True)[1:], id=line)
        for line in dict.fromkeys(lines)
        if line.startswith(f"{program} ")
    ]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tier answers from `ANSWERS`; no model is opened and no server is called."""

    def answer(tier: Tier, request: Request) -> Reply:
        text = json.dumps(ANSWERS[request.schema["title"]]) if request.schema else TEXT
        message = AIMessage(text)
        if request.tools and not any(isinstance(each, ToolMessage) for each in request.messages):
            names = [tool["function"]["name"] for tool in request.tools]
            message.tool_calls = [
                ToolCall(name=name, args=ASKED[name], id=name, type="tool_call") for name in names
            ]
        return Reply(
            message=message,
            text=text,
            usage={"input": 100, "cached": 0, "output": 10},
            seconds=0.5,
            finish="stop",
        )

    monkeypatch.setattr(Tier, "call", answer)


def execute(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "snippet", "exec"), names)
    return names


@pytest.mark.parametrize("snippet", snippets("python"))
@pytest.mark.usefixtures("scripted")
def test_python_snippets_run(snippet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names = execute(snippet)
    for state in (names.get("state"), names.get("result")):
        if state is not None:
            assert state.get("failure") is None
            assert state.get("verdict", {"accepted": True})["accepted"]


@pytest.mark.usefixtures("scripted")
def test_the_example_answers_both_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    state = execute(EXAMPLE.read_text(encoding="utf-8"))["state"]
    values = {name: result["value"] for name, result in state["results"].items()}
    assert (values["profit"]["answer"], values["profit"]["unit"]) == (["6,205"], "thousand")
    assert (values["growth"]["value"], values["growth"]["unit"]) == ("5.0327", "percent")
    assert capsys.readouterr().out.splitlines() == [
        "What was the operating profit in 2024?",
        "6,205 thousand",
        "",
        "By what percentage did revenue change from 2023 to 2024?",
        "5.0327 percent",
        "qwen2.5-coder-1.5b: 1 calls, 10 tokens written, 0.000003 USD",
        "smollm2-135m: 2 calls, 20 tokens written, 0.000001 USD",
    ]


@pytest.mark.usefixtures("scripted")
def test_the_example_of_tools_answers_from_what_they_gave(capsys: pytest.CaptureFixture[str]) -> None:
    execute((ROOT / "examples" / "tools.py").read_text(encoding="utf-8"))
    assert capsys.readouterr().out.splitlines() == [
        "{'accepted': True} {'euros': 349.0, 'pieces': 12}",
        "price({'product': 'desk'}) gave 349.0",
        "stock({'product': 'desk'}) gave 12",
    ]


def test_the_readme_shows_the_example_as_it_is() -> None:
    _, code = EXAMPLE.read_text(encoding="utf-8").split('"""\n\n', 1)
    assert code in blocks(ROOT / "README.md", "python")


@pytest.mark.model
def test_the_example_runs_on_a_real_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    small = partial(stellwerk.embedded_ladder, models=["smollm2-135m"])
    monkeypatch.setattr(stellwerk, "embedded_ladder", small)
    state = execute(EXAMPLE.read_text(encoding="utf-8"))["state"]
    # So small a model rarely answers right; that a run ends, and is billed, is what is asked of it here.
    assert state["answer"]
    assert state["ledger"]["total"]["output"] > 0
    assert "smollm2-135m: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", commands("stellwerk"))
def test_commands_parse(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    # A group may be a command of its own, with options.
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    with command.make_context(command.name, arguments) as context:
        assert not context.args


@pytest.mark.parametrize("arguments", commands("make"))
def test_make_targets_exist(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        assert re.search(rf"^{re.escape(target)}:.*## ", makefile, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_extras_that_are_to_be_installed_exist(path: Path) -> None:
    for names in re.findall(r"pip install '(?:stellwerk|\.)\[([\w,]+)\]'", path.read_text(encoding="utf-8")):
        assert set(names.split(",")) <= set(EXTRAS), f"{path.name} installs {names}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        name, _, heading = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{path.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert heading in anchors, f"{path.name} links to {target}"
