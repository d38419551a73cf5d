"""Settings of what is collected."""

from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.settings import ConversionSettings, Settings
from tests.settings.conftest import WriteToml

KEY = "0123456789abcdef0123456789abcdef"


def test_keys_come_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ConversionSettings().origin_keys() == []
    monkeypatch.setenv("ORIGIN_KEY", KEY)
    assert ConversionSettings(origin_key_env="ORIGIN_KEY").origin_keys() == [KEY.encode()]
    file = tmp_path / "key"
    file.write_text(f"new-{KEY}\n\n{KEY}\n")
    settings = ConversionSettings(origin_key_file=file, unknown_consent="denied")
    assert settings.of_traces() == {
        "origin_keys": [f"new-{KEY}".encode(), KEY.encode()],
        "unknown_consent": "denied",
    }


@pytest.mark.parametrize(
    ("content", "said"), [("", "is not set or empty"), ("short", "fewer than 16"), (None, "cannot be read")]
)
def test_a_key_that_is_none_is_an_error_without_it(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=said) as raised:
        ConversionSettings(origin_key_file=file).origin_keys()
    assert str(file) in str(raised.value)
    assert "short" not in str(raised.value)


def test_a_file_is_found_beside_the_settings_and_one_place_is_enough(toml: WriteToml, tmp_path: Path) -> None:
    path = toml('[conversion]\norigin_key_file = "origin.key"\nhci = ["chat/*"]\nretention_days = 90')
    found = Settings.load().conversion
    assert found.origin_key_file == path.parent / "origin.key"
    assert (found.hci, found.retention_days) == (("chat/*",), 90)
    toml('[conversion]\norigin_key_file = "a"\norigin_key_env = "B"')
    with pytest.raises(ConfigurationError, match="origin_key_env or origin_key_file, not both"):
        Settings.load()
