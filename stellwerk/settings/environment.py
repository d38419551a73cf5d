"""`STELLWERK_...`: settings in the environment.

`STELLWERK_TIERS` holds a whole setting, as JSON where it is no text; `STELLWERK_TIERS__SMALL__TIMEOUT` one
value of it. Names of tiers are written in capitals there, with `_` for what a variable's name cannot have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from stellwerk.errors import ConfigurationError
from stellwerk.settings.explain import near

PREFIX = "STELLWERK_"
_TEXTS = ("database", "database_url", "database_url_file")


@dataclass(frozen=True, slots=True)
class Variable:
    """One value of the environment: the variable, the path of the setting, and the value."""

    name: str
    path: tuple[str, ...]
    value: Any


def read_environment(fields: Sequence[str], environment: Mapping[str, str]) -> Iterator[Variable]:
    """What the environment sets: whole settings first, then single values of them.

    Raises:
        ConfigurationError: if a variable looks misspelt, or a value is not the JSON that it should be.
    """
    known = {PREFIX + field.upper(): field for field in fields}
    nested = []
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        head, *rest = name.split("__")
        if head not in known:
            # Only near misses: a cluster sets variables such as STELLWERK_PORT on its own.
            if close := get_close_matches(head, known, n=1, cutoff=0.93):
                right = "__".join([close[0], *rest])
                raise ConfigurationError(f"there is no setting {name}; did you mean {right}?")
        elif rest:
            nested.append(Variable(name, (known[head], *_keys(rest)), _value(name, environment[name])))
        elif known[head] in _TEXTS:
            yield Variable(name, (known[head],), environment[name])
        else:
            yield Variable(name, (known[head],), _json(name, environment[name]))
    yield from nested


def tier_index(variable: Variable, tiers: Any) -> int:
    """Which of the tiers a variable speaks of.

    Raises:
        ConfigurationError: if there is no such tier.
    """
    names = [str(tier.get("name")) for tier in tiers or () if isinstance(tier, dict)]
    written = [re.sub(r"\W", "_", name).lower() for name in names]
    if len(variable.path) < 3:
        raise ConfigurationError(f"{variable.name}: name a key too, as {PREFIX}TIERS__SMALL__TIMEOUT")
    wanted = variable.path[1]
    if written.count(wanted) != 1:
        said = "several tiers are written so" if wanted in written else f"no tier is called {wanted!r}"
        known = f"tiers: {', '.join(names)}" if names else f"declare it in stellwerk.toml or {PREFIX}TIERS"
        raise ConfigurationError(f"{variable.name}: {said}; {near(wanted, written)}{known}")
    return written.index(wanted)


def _keys(parts: list[str]) -> list[str]:
    keys: list[str] = []
    for part in parts:
        # Names of variables keep their capitals.
        keys.append(part if "environment" in keys else part.lower())
    return keys


def _value(name: str, text: str) -> Any:
    return _json(name, text) if text.lstrip()[:1] in ("[", "{") else text


def _json(name: str, text: str) -> Any:
    said = None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        said = str(error)
    # Outside `except`: the error would carry the text.
    raise ConfigurationError(f"{name}: it has to be JSON: {said}")
