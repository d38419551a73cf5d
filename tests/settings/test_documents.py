"""The settings in the documents can be used."""

import re
from pathlib import Path

import pytest

from stellwerk.settings import (
    CacheSettings,
    ConversionSettings,
    ErrorSettings,
    ObservabilitySettings,
    PeopleSettings,
    PlanningSettings,
    RouterSettings,
    ServeSettings,
    Settings,
    TierSettings,
    WorkerErrorSettings,
)
from tests.settings.conftest import WriteToml

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.M | re.S), 1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_settings_is_right(toml: WriteToml, block: str) -> None:
    toml(block)
    settings = Settings.load()
    assert settings.tiers or settings != Settings(database=settings.database)


@pytest.mark.parametrize(
    ("model", "heading"), [(TierSettings, "## Tiers"), (ServeSettings, "## Serving a tier")]
)
def test_every_key_is_documented(model: type[TierSettings | ServeSettings], heading: str) -> None:
    section = (ROOT / "docs" / "settings.md").read_text().split(heading, 1)[1].split("\n## ", 1)[0]
    assert _keys(section) == set(model.model_fields) - {"name", "serve"}


def test_every_key_of_the_router_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.split("## Router and budget", 1)[1].split("\n## ", 1)[0]
    assert _keys(section) == set(RouterSettings.model_fields)


def test_every_key_of_observability_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.split("## Observability", 1)[1].split("\n## ", 1)[0]
    assert _keys(section) == set(ObservabilitySettings.model_fields)


def test_every_key_of_the_conversion_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.split("## Conversion", 1)[1].split("\n## ", 1)[0]
    assert _keys(section) == set(ConversionSettings.model_fields)


def test_every_key_of_failures_and_of_what_is_used_again_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.split("## Failures, people, plans and answers of before", 1)[1].split("\n## ", 1)[0]
    assert _keys(section) == {
        *ErrorSettings.model_fields,
        *WorkerErrorSettings.model_fields,
        *PeopleSettings.model_fields,
        *PlanningSettings.model_fields,
        *CacheSettings.model_fields,
    } - {"workers"}


def _keys(section: str) -> set[str]:
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    for field in Settings.model_fields:
        assert f"`{field}" in text or f"[{field}" in text or f"`[{field}" in text or f"\n{field} =" in text
