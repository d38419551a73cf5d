"""The files for deploying agree with each other and with what the program does."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from stellwerk.settings import Settings, config_file
from stellwerk.tiers.vllm_command import vllm_command

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy" / "compose"


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    token = config_file.set(str(COMPOSE / "stellwerk.toml"))
    try:
        return Settings.load()
    finally:
        config_file.reset(token)


def test_the_server_is_started_as_the_settings_say(
    compose: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("k")
    tier = settings.tier("small").model_copy(update={"api_key_file": key})
    wanted = vllm_command(settings, tier).argv
    (script,) = compose["services"]["small"]["command"]
    assert tuple(shlex.split(script)[2:]) == wanted
    assert shlex.split(script)[:2] == ["VLLM_API_KEY=$$(cat /run/secrets/small_api_key)", "exec"]


def test_the_app_reaches_the_server_and_its_secrets_by_their_names(
    compose: dict[str, Any], settings: Settings
) -> None:
    services = compose["services"]
    tier = settings.tier("small")
    assert tier.base_url == "http://small:8000/v1"
    assert "small" in services
    mounted = {f"/run/secrets/{name}" for name in services["app"]["secrets"]}
    assert {str(tier.api_key_file), str(settings.database_url_file)} == mounted


def test_every_secret_is_a_file_that_is_never_committed(compose: dict[str, Any]) -> None:
    used = {name for service in compose["services"].values() for name in service.get("secrets", ())}
    assert used == set(compose["secrets"])
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "secrets/" in (COMPOSE / ".gitignore").read_text().split()
    assert not re.search(r"(PASSWORD|KEY|TOKEN): *\S", (COMPOSE / "compose.yaml").read_text())


def test_nothing_is_published_and_images_have_versions(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert "ports" not in service
        if "image" in service:
            assert not service["image"].endswith(":latest")
            assert ":" in service["image"]
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])


def test_the_dockerfile_copies_what_the_build_context_keeps() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    kept = (COMPOSE / "Dockerfile.dockerignore").read_text().split()
    for name in " ".join(copied).split():
        assert f"!{name}" in kept
        assert (ROOT / name).exists() or not (ROOT / "stellwerk").exists()  # not beside an installed wheel
