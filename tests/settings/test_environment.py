import json
from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.settings import Settings


def set_tiers(monkeypatch: pytest.MonkeyPatch, *tiers: object) -> None:
    monkeypatch.setenv("STELLWERK_TIERS", json.dumps(tiers))


def test_nothing_set_means_the_embedded_ladder() -> None:
    settings = Settings.load()
    assert settings.tiers == ()
    assert settings.models[0] == "smollm2-135m"
    assert settings.database.name == "runs.sqlite"


def test_tiers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_tiers(
        monkeypatch,
        {"name": "small", "model": "s", "base_url": "http://127.0.0.1:8000/v1"},
        {"name": "large", "model": "l", "input_price": 1, "output_price": 2, "api_key_env": "LARGE_KEY"},
    )
    small, large = Settings.load().tiers
    assert small.base_url == "http://127.0.0.1:8000/v1"
    assert small.input_price is None
    assert (large.input_price, large.output_price, large.api_key_env) == (1, 2, "LARGE_KEY")


def test_values_go_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STELLWERK_DATABASE", "/elsewhere.sqlite")
    assert Settings.load(database=tmp_path / "a").database == tmp_path / "a"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_DATABASE", "~/runs.sqlite")
    assert Settings.load().database == Path.home() / "runs.sqlite"


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        ({}, "STELLWERK_TIERS.0.model: it is missing"),
        ({"model": "m", "modle": 1}, "STELLWERK_TIERS.0.modle: there is no such key; did you mean model?"),
        ({"model": "m", "context_window": 0}, "window: Input should be greater than or equal to 1 (found 0)"),
        ({"model": "m", "base_url": "localhost:1"}, "found 'localhost:1'"),
        ({"model": "m", "input_price": 1}, "give both input_price and output_price, or neither"),
        ({"model": "m", "cached_price": 1}, "cached_price needs input_price"),
        ({"model": "m", "output_price": -1}, "STELLWERK_TIERS.0.output_price"),
    ],
)  # fmt: skip
def test_a_wrong_tier_is_named(
    monkeypatch: pytest.MonkeyPatch, tier: dict[str, object], message: str
) -> None:
    set_tiers(monkeypatch, {"name": "small", **tier})
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "tier",
    [
        {"api_key": "sk-Secret1"},
        {"api_key_env": "sk-Secret1"},
        {"api_key_env": "Secret1"},
        {"base_url": "http://user:Secret1@host/v1"},
        {"base_url": "http://host/v1?key=Secret1@x"},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tier: dict[str, str]
) -> None:
    set_tiers(monkeypatch, {"name": "small", "model": "m", **tier})
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "Secret1" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_TIERS", "[{")
    with pytest.raises(
        ConfigurationError, match=r"STELLWERK_TIERS: it has to be JSON: Expecting property name"
    ):
        Settings.load()


def test_a_misspelt_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_TIER", "[]")
    with pytest.raises(ConfigurationError, match="no setting STELLWERK_TIER; did you mean STELLWERK_TIERS"):
        Settings.load()


@pytest.mark.parametrize("name", ["STELLWERK_PORT", "STELLWERK_SERVICE_HOST", "STELLWERK_MODELS_DIR"])
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert Settings.load().tiers == ()


def test_no_models_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_MODELS", "[]")
    with pytest.raises(ConfigurationError, match="STELLWERK_MODELS: The list should have at least 1 item"):
        Settings.load()
