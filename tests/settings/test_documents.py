"""The settings in the documents can be used."""

import re
from pathlib import Path

import pytest

from stellwerk.settings import ServeSettings, Settings, TierSettings
from tests.settings.conftest import WriteToml

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.M | re.S), 1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_settings_is_right(toml: WriteToml, block: str) -> None:
    toml(block)
    settings = Settings.load()
    assert settings.tiers


@pytest.mark.parametrize(
    ("model", "heading"), [(TierSettings, "## Tiers"), (ServeSettings, "## Serving a tier")]
)
def test_every_key_is_documented(model: type[TierSettings | ServeSettings], heading: str) -> None:
    section = (ROOT / "docs" / "settings.md").read_text().split(heading, 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert documented == set(model.model_fields) - {"name", "serve"}


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    for field in Settings.model_fields:
        assert f"`{field}" in text or f"[{field}" in text or f"`[{field}" in text or f"\n{field} =" in text
