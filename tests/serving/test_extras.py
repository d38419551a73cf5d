"""What Studio and LangServe need stands side by side."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def extra(name: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["optional-dependencies"][name]]


def test_langserve_is_asked_for_without_extras_of_its_own() -> None:
    assert {each.name: each.extras for each in extra("langserve")}["langserve"] == set()


@pytest.mark.slow
def test_studio_and_langserve_are_installed_and_nothing_is_broken() -> None:
    for wanted in (*extra("studio"), *extra("langserve")):
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            pytest.skip(f"{wanted.name} is not installed; the extra `dev` brings it")
        assert found in wanted.specifier, f"{wanted} is wanted, and {found} is installed"
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
