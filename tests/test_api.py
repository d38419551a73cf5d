import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import stellwerk

ROOT = Path(__file__).parents[1]

# What a program that only wants the version, or one exception, should not have to wait for.
HEAVY = (
    "langchain_core",
    "langchain_openai",
    "langgraph",
    "openai",
    "pydantic",
    "ray",
    "sklearn",
    "torch",
    "vllm",
)
# What nothing in the public surface needs before it is used.
OPTIONAL = ("ray", "sklearn", "torch", "vllm", "xllamacpp")


def loaded(code: str, modules: tuple[str, ...]) -> list[str]:
    """Which of the modules a new process has loaded after running the code."""
    show = f"import sys; print(*(name for name in {modules!r} if name in sys.modules))"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_all_is_sorted_and_without_repetition() -> None:
    assert sorted(set(stellwerk.__all__)) == stellwerk.__all__


@pytest.mark.parametrize("name", stellwerk.__all__)
def test_every_name_resolves_and_is_offered_by_dir(name: str) -> None:
    assert getattr(stellwerk, name) is not None
    assert name in dir(stellwerk)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(stellwerk.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    } - {"version"}
    assert imported | {"__version__"} == set(stellwerk.__all__)


def test_the_documentation_lists_the_same_names() -> None:
    table = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == stellwerk.__all__


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'stellwerk' has no attribute 'Laddder'"):
        stellwerk.Laddder  # type: ignore[attr-defined]  # noqa: B018  # the misspelling is the test


def test_version_is_that_of_the_installed_package() -> None:
    assert stellwerk.__version__ == version("stellwerk")


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded("import stellwerk", HEAVY) == []


def test_importing_every_name_loads_nothing_optional() -> None:
    # But for the one name that is a `ChatOpenAI`.
    names = [name for name in stellwerk.__all__ if name != "ChatVLLM"]
    assert loaded(f"from stellwerk import {', '.join(names)}", OPTIONAL) == []


def test_errors_need_neither_langgraph_nor_pydantic() -> None:
    assert loaded("from stellwerk import TierError", HEAVY) == []
