"""How an MCP server is reached, as it is declared."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from stellwerk.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BY_COMMAND = {"command", "args", "env", "cwd", "tools"}
_BY_URL = {"url", "headers", "tools"}
_LEAST_SECRET = 8  # characters; a shorter one would hide half of a message


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """A server that is started as a process, or one behind a URL.

    Neither `env` nor `headers` is ever shown. `secrets` are the values that came from the environment.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tools: tuple[str, ...] | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def parse(cls, name: str, declared: Mapping[str, Any]) -> McpServer:
        """A server from its declaration; `${NAME}` in `env` and `headers` is taken from the environment.

        Raises:
            ConfigurationError: if a key is unknown, a value of the wrong kind, or a variable not set.
        """
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"MCP server name {name!r} is not usable; use at most 32 of a-z, 0-9, _, -"
            )
        if ("command" in declared) == ("url" in declared):
            raise ConfigurationError(f"MCP server {name!r} needs a command or a url; give one of the two")
        known = _BY_COMMAND if "command" in declared else _BY_URL
        for key in declared:
            if key not in known:
                near = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigurationError(
                    f"MCP server {name!r}: no key {key!r}; {hint}keys: {', '.join(sorted(known))}"
                )
        reader = _Reader(name, declared)
        return cls(
            name=name,
            command=reader.text("command"),
            args=reader.texts("args") or (),
            env=reader.table("env"),
            cwd=reader.text("cwd"),
            url=reader.text("url"),
            headers=reader.table("headers") or {},
            tools=reader.texts("tools"),
            secrets=frozenset(reader.secrets),
        )

    def masked(self, text: str) -> str:
        """A text without the secrets."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class _Reader:
    def __init__(self, server: str, declared: Mapping[str, Any]) -> None:
        self._server = server
        self._declared = declared
        self.secrets: set[str] = set()

    def text(self, key: str) -> str | None:
        value = self._declared.get(key)
        if value is not None and not isinstance(value, str | os.PathLike):
            raise self._wrong(key, "text")
        return None if value is None else os.fspath(value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self._declared.get(key)
        if value is None:
            return None
        if isinstance(value, str) or not all(isinstance(one, str | os.PathLike) for one in value):
            raise self._wrong(key, "a list of texts")
        return tuple(os.fspath(one) for one in value)

    def table(self, key: str) -> dict[str, str] | None:
        value = self._declared.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
            raise self._wrong(key, "a mapping of texts")
        return {str(name): self._resolved(f"{key}.{name}", one) for name, one in value.items()}

    def _resolved(self, key: str, value: str) -> str:
        def look_up(match: re.Match[str]) -> str:
            if (found := os.environ.get(match[1])) is None:
                raise ConfigurationError(
                    f"MCP server {self._server!r}: {key} wants {match[1]}, which is not set; export it first"
                )
            if len(found) >= _LEAST_SECRET:
                self.secrets.add(found)
            return found

        return _REFERENCE.sub(look_up, value)

    def _wrong(self, key: str, wanted: str) -> ConfigurationError:
        # Without the value: it may be a secret.
        kind = type(self._declared[key]).__name__
        return ConfigurationError(f"MCP server {self._server!r}: {key} is a {kind}; give {wanted}")
