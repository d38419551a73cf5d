import os
from collections.abc import Callable
from pathlib import Path

import pytest

WriteToml = Callable[[str], Path]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own settings, and a working directory where no file is found."""
    for name in list(os.environ):
        if name.startswith("STELLWERK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    """Write `stellwerk.toml` into the working directory."""

    def write(text: str) -> Path:
        path = tmp_path / "stellwerk.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    return write
