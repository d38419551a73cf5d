"""What docs/serving.md says is so."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stellwerk.settings import ServingSettings
from tests.serving.served import Site
from tests.serving.test_threads import ANSWER
from tests.test_docs import blocks, execute

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"
TEXT = DOCUMENT.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_its_requests_are_answered(place: Site) -> None:
    (script,) = [
        block for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if "curl" in block
    ]
    environment = {**os.environ, "URL": place.url, "KEY": place.keys["ada"], "no_proxy": "127.0.0.1"}
    found = subprocess.run(
        ["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr + found.stdout
    assert "event: values" in found.stdout


def test_the_client_of_langserve_is_answered(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (code,) = [block for block in blocks(DOCUMENT, "python") if "RemoteRunnable" in block]
    names = execute(code.replace("http://127.0.0.1:8080", place.url).replace("sw_...", place.keys["ada"]))
    assert names["found"]["failure"] is None
    assert (names["answer"], names["job"]["value"]["answer"]) == (ANSWER, ["100 dollars"])
    for client in names["orchestrator"], names["extract"]:
        client.sync_client.close()


def test_every_key_is_documented() -> None:
    section = TEXT.split("## Limits", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(ServingSettings.model_fields)
