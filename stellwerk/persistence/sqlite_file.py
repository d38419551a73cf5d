"""The file of a SQLite database."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL

from stellwerk.errors import ConfigurationError
from stellwerk.persistence.urls import is_memory


def sqlite_file(url: URL) -> Path | None:
    """The file, or None of another database, and of one in memory."""
    if url.get_backend_name() != "sqlite" or is_memory(url):
        return None
    name = url.database or ""
    return Path(unquote(urlsplit(name).path) if "uri" in url.query else name).expanduser()


def make_sqlite_file(url: URL) -> None:
    """Make the file if there is none, for its owner only, as it will hold the documents of each run.

    Raises:
        ConfigurationError: if it cannot be made, or must not be written.
    """
    if (path := sqlite_file(url)) is None:
        return
    # A file that is there is not opened: to close it again would take away the locks of each connection that
    # this process has to it, and another process would delete the log under them.
    try:
        if path.exists():
            if path.is_dir() or not os.access(path, os.R_OK | os.W_OK):
                code = errno.EISDIR if path.is_dir() else errno.EACCES
                raise OSError(code, os.strerror(code))
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"cannot open the database {path}: {error.strerror or error}; choose another with --database, or "
            "in the settings"
        ) from error
