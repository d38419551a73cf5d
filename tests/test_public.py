import json
import subprocess
import sys

import pytest

import stellwerk

HEAVY = ("torch", "vllm", "sklearn", "ray", "openai", "langchain_openai")
CLIENT = ["langchain_openai", "openai"]  # which `ChatVLLM` extends, and nothing else needs at its import

ASK = """
import json, sys
{code}
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps(sorted(loaded & set({heavy!r}))))
"""
ALL_BUT_CHAT_VLLM = [name for name in stellwerk.__all__ if name != "ChatVLLM"]


@pytest.mark.parametrize(
    ("code", "brought"),
    [
        ("import stellwerk", []),
        ("from stellwerk import *", CLIENT),
        (f"import stellwerk; [getattr(stellwerk, name) for name in {ALL_BUT_CHAT_VLLM}]", []),
        ("import stellwerk; stellwerk.create_orchestrator; stellwerk.embedded_ladder()", []),
    ],
)
def test_an_import_brings_nothing_heavy_along(code: str, brought: list[str]) -> None:
    script = ASK.format(code=code, heavy=HEAVY)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == brought


def test_every_public_name_is_there_and_sorted() -> None:
    assert stellwerk.__all__ == sorted(stellwerk.__all__)
    for name in stellwerk.__all__:
        assert getattr(stellwerk, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        stellwerk.nothing  # type: ignore[attr-defined]  # noqa: B018
