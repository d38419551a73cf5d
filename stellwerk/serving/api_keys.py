"""API keys: a file with a name and the SHA-256 of a key on each line."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from pathlib import Path

from stellwerk.errors import ConfigurationError, InputError

PREFIX = "sw_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})")
_MOST_BYTES = 1 << 20
_log = logging.getLogger(__name__)


class ApiKeys:
    """The keys of a file, which is read again when it changes; none where it cannot be used any more.

    A name may have several keys, so that a new one is there before the old one goes.

    Raises:
        ConfigurationError: if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = _stamp(path)
        self._keys = _read(path)

    def name_of(self, key: str) -> str | None:
        """Whose key it is; each key is compared in the same time, whether it fits or not."""
        self._refresh()
        given = _digest(key)
        found = None
        for name, digest in self._keys:
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def _refresh(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp != self._seen:
                self._keys = _read(self._path)
                self._seen = stamp
        except ConfigurationError as error:
            if self._keys:
                _log.error("no API key is taken any more: %s", error)
            self._keys, self._seen = [], None


def new_key(path: Path, name: str) -> str:
    """Make a key, and add its digest to a file, which is made if it is not there.

    Returns:
        The key, which is kept nowhere.

    Raises:
        InputError: if the name cannot be used.
        ConfigurationError: if the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the name {name[:80]!r} is not usable; use at most 64 letters, digits, '.', '_', '@' or '-'"
        )
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
            file.seek(0)
            text = file.read(_MOST_BYTES)
            start = "\n" if text and not text.endswith(b"\n") else ""
            file.write(f"{start}{name}:{_digest(key)}\n".encode())
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the API keys to {path}: {error.strerror or error}; choose another file"
        ) from None
    return key


def _digest(key: str) -> str:
    # No slow hash: a key has 256 random bits, which nobody guesses.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"serve.api_keys_file: cannot read {path}: {error.strerror or error}; make it with: "
            "stellwerk serve key NAME"
        ) from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"serve.api_keys_file: cannot read {path}: {said}") from None
    if os.name == "posix" and stat.S_IMODE(mode) & stat.S_IWOTH:
        raise ConfigurationError(
            f"serve.api_keys_file: everybody may write {path}, and so let anybody in; run: chmod o-w {path}"
        )
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigurationError(
                f"serve.api_keys_file: line {number} of {path} is not name:sha256; "
                "make keys with: stellwerk serve key NAME"
            )
        keys.append((match[1], match[2]))
    return keys
