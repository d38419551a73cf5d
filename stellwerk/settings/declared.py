"""What was declared where: arguments before the environment, that before the file, that before defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_settings import BaseSettings

from stellwerk.errors import ConfigurationError
from stellwerk.settings.environment import PREFIX, Variable, read_environment, tier_index
from stellwerk.settings.file import find_file, read_file, tier_list

config_file: ContextVar[str | None] = ContextVar("config_file", default=None)
"""The file that `--config` names; it goes before `STELLWERK_CONFIG`."""

_PLACES = ("database", "database_url", "database_url_file")
KeyPath = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from; `name` is the variable or the file."""

    kind: Literal["argument", "environment", "file"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """Values as they were given, unchecked, and where each comes from."""

    values: dict[str, Any]
    origins: dict[tuple[str | int, ...], Origin]
    file: Path | None

    def origin(self, path: KeyPath) -> Origin | None:
        """Where the value at a path comes from; None for a default."""
        value: Any = self.values
        for part in path:
            if isinstance(value, Mapping):
                key = "base_url" if part == "url" and "url" not in value else part  # its older name
                if key not in value:
                    return None
                value = value[key]
            elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                break
        return self._nearest(path)

    def label(self, path: KeyPath) -> str:
        """How a message names a path: with the variable or the file that it stands in."""
        origin = self._nearest(path)
        if origin is None or origin.kind == "argument":
            return self.dotted(path)
        if origin.kind == "file":
            return f"{origin.name}: {self.dotted(path)}"
        depth = max(len(known) for known, of in self.origins.items() if of == origin)
        return ".".join([origin.name, *map(str, path[depth:])])

    def dotted(self, path: KeyPath) -> str:
        """A path as the file has it, with a tier by its name."""
        name = self.tier_name(path)
        parts = path if name is None else ("tiers", name, *path[2:])
        return ".".join(map(str, parts))

    def tier_name(self, path: KeyPath) -> str | None:
        """The name of the tier that a path leads into."""
        if len(path) < 2 or path[0] != "tiers" or not isinstance(path[1], int):
            return None
        tier = self.values["tiers"][path[1]]
        name = tier.get("name") if isinstance(tier, Mapping) else getattr(tier, "name", None)
        return name if isinstance(name, str) else None

    def _nearest(self, path: KeyPath) -> Origin | None:
        for length in range(len(path), 0, -1):
            if (origin := self.origins.get(tuple(path[:length]))) is not None:
                return origin
        return None


def declare(settings: type[BaseSettings], given: Mapping[str, Any]) -> Declared:
    """Read file and environment, and put the arguments on top.

    Raises:
        ConfigurationError: if the file cannot be used, or a variable is misspelt or malformed.
    """
    named = config_file.get() or os.environ.get(PREFIX + "CONFIG")
    file = find_file(named)
    declared = Declared({}, {}, file.path if file else None)
    if file is not None:
        for key, value in read_file(settings, file).items():
            _put(declared, (key,), value, Origin("file", str(file.path)))
    variables = list(read_environment(list(settings.model_fields), os.environ))
    _forget_places(declared, {variable.path[0] for variable in variables})
    for variable in variables:
        value = variable.value
        if variable.path == ("tiers",) and isinstance(value, dict):
            value = tier_list(value, variable.name)
        _put(declared, _path(variable, declared), value, Origin("environment", variable.name))
    _forget_places(declared, set(given))
    for key, value in given.items():
        _put(declared, (key,), value, Origin("argument"))
    return declared


def _forget_places(declared: Declared, keys: set[str]) -> None:
    """Who says where runs are kept says it alone: a URL of the file must not outdo a variable's path."""
    if keys & set(_PLACES):
        for place in _PLACES:
            declared.values.pop(place, None)
            declared.origins.pop((place,), None)


def _path(variable: Variable, declared: Declared) -> tuple[str | int, ...]:
    if variable.path[0] == "tiers" and len(variable.path) > 1:
        index = tier_index(variable, declared.values.get("tiers"))
        return ("tiers", index, *variable.path[2:])
    return variable.path


def _put(declared: Declared, path: tuple[str | int, ...], value: Any, origin: Origin) -> None:
    *folders, last = path
    place: Any = declared.values
    for position, part in enumerate(folders):
        if isinstance(place, dict):
            place = place.setdefault(part, {})
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part]
        if not isinstance(place, dict | list):
            where = ".".join(map(str, path[: position + 1]))
            raise ConfigurationError(f"{origin.name}: {where} has no keys of its own; set it as a whole")
    place[last] = value
    for known in [known for known in declared.origins if known[: len(path)] == path]:
        del declared.origins[known]
    declared.origins[path] = origin
