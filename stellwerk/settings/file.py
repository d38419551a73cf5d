"""`stellwerk.toml`: where it is looked for, and how far it is trusted.

A file that is named (by `--config` or `STELLWERK_CONFIG`) is trusted as a program is. One in the working
directory is trusted in the same way if its owner is this user or root, as a `conftest.py` there would be.
One found in a parent directory, which nobody may have thought of, may set numbers and URLs, but not what code
runs or where a secret goes. One that everybody may write is refused wherever it is.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, TomlConfigSettingsSource

from stellwerk.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

NAME = "stellwerk.toml"
_MOST_BYTES = 1 << 20
_PATHS = (
    "database",
    "database_url_file",
    "api_key_file",
    "api_keys_file",
    "jwt_key_file",
    "origin_key_file",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file of settings, and how it was come by."""

    path: Path
    named: bool = False
    parent: bool = False


def find_file(named: str | None) -> ConfigFile | None:
    """The file that was named, or the nearest one from the working directory up; None if there is none.

    The search goes up to the root of the repository (a folder with `.git`) or to the home directory, and does
    not leave the working directory where neither is above it.
    """
    if named:
        return ConfigFile(path=Path(named).expanduser().absolute(), named=True)
    here = Path.cwd()
    for folder in _folders(here):
        if (path := folder / NAME).is_file():
            return ConfigFile(path=path, parent=folder != here)
    return None


def _folders(here: Path) -> list[Path]:
    home = Path.home()
    folders = []
    for folder in (here, *here.parents):
        folders.append(folder)
        if folder == home or (folder / ".git").exists():
            return folders
    return [here]


def read_file(settings: type[BaseSettings], file: ConfigFile) -> dict[str, Any]:
    """What the file says, with `[tiers.NAME]` as a list and paths made absolute.

    Raises:
        ConfigurationError: if it cannot be read, is not TOML, or says what it may not.
    """
    values = _Toml(settings, file).toml_data
    where = file.path
    if "tiers" in values:
        values["tiers"] = tier_list(values["tiers"], str(where))
    _check_database_url(values, where)
    if file.parent:
        _check_powers(values, where)
    inner = [*_tables(values.get("serve")), *_tables(values.get("conversion"))]
    for table in (values, *inner, *values.get("tiers", ())):
        for key in _PATHS:
            if isinstance(text := table.get(key), str):
                table[key] = str(where.parent / Path(text).expanduser())
    return values


class _Toml(TomlConfigSettingsSource):
    """The TOML source of pydantic-settings, with one look at the file that is then read."""

    def __init__(self, settings: type[BaseSettings], file: ConfigFile) -> None:
        self._file = file
        if not file.path.is_file():
            raise ConfigurationError(
                f"there is no file {file.path}; give another with --config or STELLWERK_CONFIG, "
                "or make one with: stellwerk config init"
            )
        super().__init__(settings, file.path)

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        try:
            with file_path.open("rb") as stream:
                # Of what is open, not of the path, which may be another file by now.
                _check_trust(os.fstat(stream.fileno()), self._file)
                text = stream.read(_MOST_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(f"cannot read {file_path}: {error.strerror}") from None
        if len(text) > _MOST_BYTES:
            raise ConfigurationError(f"{file_path} has more than {_MOST_BYTES:,} bytes; it is no {NAME}")
        said = None
        try:
            return tomllib.loads(text.decode("utf-8"))
        except UnicodeDecodeError as error:
            said = f"not UTF-8 text (at byte {error.start})"
        except tomllib.TOMLDecodeError as error:
            said = str(error)
        # Outside `except`, or the error would carry the text of the file.
        raise ConfigurationError(f"{file_path} is not TOML: {said}")


def _check_trust(status: os.stat_result, file: ConfigFile) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{file.path} is no regular file; write the settings into one")
    if os.name != "posix":
        return
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"everybody may write {file.path}, so that anybody decides what runs; run: chmod o-w {file.path}"
        )
    if not file.named and status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{file.path} belongs to another user; if you trust it, name it: --config {file.path}"
        )


def tier_list(given: Any, where: str) -> list[dict[str, Any]]:
    """Tiers as a list, from tables by name or from a list.

    Raises:
        ConfigurationError: if it is neither.
    """
    if isinstance(given, dict):
        tiers = []
        for name, fields in given.items():
            if not isinstance(fields, dict):
                raise ConfigurationError(f"{where}: tiers.{name} should be a table, as [tiers.{name}]")
            if fields.get("name", name) != name:
                raise ConfigurationError(
                    f"{where}: tiers.{name}.name: the name of the table is the tier's; leave it out"
                )
            tiers.append({**fields, "name": name})
        return tiers
    if not isinstance(given, list) or not all(isinstance(tier, dict) for tier in given):
        raise ConfigurationError(f"{where}: tiers should be tables, as [tiers.small]")
    return given


def _check_database_url(values: dict[str, Any], where: Path) -> None:
    url = values.get("database_url")
    if isinstance(url, str) and (
        ("@" in url and ":" in url.split("@")[0].partition("://")[2]) or "password" in url
    ):
        raise ConfigurationError(
            f"{where}: database_url: a password does not belong in a file that is copied and shared; set "
            "STELLWERK_DATABASE_URL, or name a file that holds the URL: database_url_file"
        )


def _check_powers(values: dict[str, Any], where: Path) -> None:
    found = [key for key in ("workers", "database_url_file", "serve") if _is_power(key, values.get(key))]
    for table in _tables(values.get("conversion")):
        found += [f"conversion.{key}" for key in ("origin_key_env", "origin_key_file") if key in table]
    for tier in values.get("tiers", ()):
        found += [
            f"tiers.{tier.get('name')}.{key}"
            for key in ("api_key_env", "api_key_file", "serve")
            if key in tier
        ]
    if found:
        raise ConfigurationError(
            f"{where} stands in a parent directory, and from there it may not set {found[0]}, which decides "
            "what code runs or where a secret goes; if you trust it, name it: "
            f"export STELLWERK_CONFIG={where}"
        )


def _is_power(key: str, value: Any) -> bool:
    if key == "workers" and isinstance(value, list):
        return any(":" in str(path) for path in value)
    return value is not None


def _tables(value: Any) -> list[dict[str, Any]]:
    return [value] if isinstance(value, dict) else []
