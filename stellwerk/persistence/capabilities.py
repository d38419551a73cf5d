"""What servers were seen to do: `SQLAlchemyCapabilityStore`, `AsyncSQLAlchemyCapabilityStore`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Self

from sqlalchemy import URL, Connection, select

from stellwerk.capabilities import Capabilities, FoundCapabilities
from stellwerk.persistence import json_value
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.insert import insert_or_update
from stellwerk.persistence.schema.capabilities import capabilities as table
from stellwerk.persistence.schema.columns import MAX_KEY, digest

_TOLD = ("url", "model", "found", "probed_at")


class SQLAlchemyCapabilityStore:
    """Capabilities in a database. To share a pool, give it a saver's `database`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: str | URL | os.PathLike[str]) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url))

    def find(self, url: str, model: str, version: str | None = None) -> FoundCapabilities | None:
        """What was found last, of this version of the server, or of any if None.

        Raises:
            DatabaseError: if the database fails.
        """
        return self.database.read(_finding(url, model, version))

    def save(self, found: FoundCapabilities, /) -> None:
        """Keep it in the place of what was found before of the same version, unless that is newer.

        Raises:
            DatabaseError: if the database fails.
        """
        self.database.write(_saving(found), one_statement=True)

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSQLAlchemyCapabilityStore:
    """As `SQLAlchemyCapabilityStore`, for async code: the same methods."""

    def __init__(self, database: AsyncDatabase) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: str | URL | os.PathLike[str]) -> Self:
        """As `SQLAlchemyCapabilityStore.from_url`."""
        return cls(AsyncDatabase.from_url(url))

    async def find(self, url: str, model: str, version: str | None = None) -> FoundCapabilities | None:
        """As `SQLAlchemyCapabilityStore.find`."""
        return await self.database.read(_finding(url, model, version))

    async def save(self, found: FoundCapabilities, /) -> None:
        """As `SQLAlchemyCapabilityStore.save`."""
        await self.database.write(_saving(found), one_statement=True)

    async def close(self) -> None:
        """Close the pool, if it is its own."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _finding(url: str, model: str, version: str | None) -> Callable[[Connection], FoundCapabilities | None]:
    query = select(table).where(table.c.server == _server(url, model))
    if version is not None:
        query = query.where(table.c.version == _version(version))
    query = query.order_by(table.c.probed_at.desc()).limit(1)

    def find(connection: Connection) -> FoundCapabilities | None:
        row = connection.execute(query).first()
        return None if row is None else _read(row)

    return find


def _saving(found: FoundCapabilities) -> Callable[[Connection], None]:
    row = {
        "server": _server(found.url, found.model),
        "version": _version(found.capabilities.version),
        "url": found.url,
        "model": found.model,
        "found": json_value.dump(found.capabilities.to_json(), "what was found of a server"),
        "probed_at": found.probed_at,
    }

    def save(connection: Connection) -> None:
        statement = insert_or_update(connection.dialect.name, table, _TOLD, "probed_at")
        connection.execute(statement, row)

    return save


def _read(row: Any) -> FoundCapabilities:
    try:
        stored = json.loads(row.found)
    except ValueError:  # nothing that is missed: it is found anew
        stored = None
    found = Capabilities.from_json(stored if isinstance(stored, dict) else {})
    return FoundCapabilities(url=row.url, model=row.model, capabilities=found, probed_at=row.probed_at)


def _server(url: str, model: str) -> bytes:
    return digest(f"{len(url)}:{url}{model}")


def _version(version: str) -> bytes:
    return version.encode("utf-8", "replace")[:MAX_KEY]
