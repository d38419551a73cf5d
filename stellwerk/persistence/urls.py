"""Database URLs: which driver serves them, sync and async."""

from __future__ import annotations

import os
from importlib.util import find_spec

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from stellwerk.errors import ConfigurationError, MissingExtraError

# database: (sync driver, async driver, extra that installs them). SQLite has no async driver of its
# own: `AsyncDatabase` runs it in threads.
_DRIVERS = {
    "sqlite": ("pysqlite", "pysqlite", ""),
    "postgresql": ("psycopg", "psycopg", "postgres"),
    "mysql": ("pymysql", "asyncmy", "mysql"),
    "mariadb": ("pymysql", "asyncmy", "mysql"),
}
_IN_EXTRAS = {"asyncpg", "psycopg_async"}
# Where the package is not named as SQLAlchemy names the driver.
_PACKAGES = {"psycopg_async": "psycopg", "mysqldb": "MySQLdb", "mariadbconnector": "mariadb"}
_SYNC_ONLY = {"pysqlite", "pymysql", "psycopg2", "mysqldb", "mariadbconnector"}
_ASYNC_ONLY = {"aiosqlite", "asyncpg", "asyncmy", "aiomysql", "psycopg_async"}


def parse_url(url: str | URL | os.PathLike[str], *, asynchronous: bool = False) -> URL:
    """The URL with the driver that will serve it. A path, or a text without `://`, is a SQLite file.

    Raises:
        ConfigurationError: if the URL is malformed, or names a database or driver that is not supported.
        MissingExtraError: if the driver is not installed.
    """
    parsed = _parse(url)
    backend, _, driver = parsed.drivername.partition("+")
    backend = "postgresql" if backend == "postgres" else backend
    if backend not in _DRIVERS:
        raise ConfigurationError(
            f"database {shown(parsed)}: {backend!r} is not supported; use {', '.join(_DRIVERS)}"
        )
    sync, asynchronous_driver, extra = _DRIVERS[backend]
    if driver == "aiomysql":
        raise ConfigurationError(
            f"database {shown(parsed)}: aiomysql cannot bind bytes with PyMySQL 1.2 and later; use asyncmy"
        )
    wanted = asynchronous_driver if asynchronous else sync
    if not driver or driver == "aiosqlite" or driver in (_SYNC_ONLY if asynchronous else _ASYNC_ONLY):
        driver = wanted
    if extra and find_spec(_PACKAGES.get(driver, driver)) is None:
        if driver in (sync, asynchronous_driver, *_IN_EXTRAS):
            raise MissingExtraError(driver, extra)
        raise ConfigurationError(
            f"database {shown(parsed)}: the driver {driver} is not installed; install it, or leave it out of "
            f"the URL ({backend}://...), which takes {wanted}"
        )
    return parsed.set(drivername=f"{backend}+{driver}")


def shown(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def is_memory(url: URL) -> bool:
    """Whether this is a SQLite database that lives in memory."""
    return url.get_backend_name() == "sqlite" and (
        url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"
    )


def _parse(url: str | URL | os.PathLike[str]) -> URL:
    if isinstance(url, URL):
        return url
    if not isinstance(url, str) or "://" not in url:
        return URL.create("sqlite", database=os.fspath(url))
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"the database URL {scheme}://... is malformed; it looks like postgresql://user@host:5432/name"
        ) from None
