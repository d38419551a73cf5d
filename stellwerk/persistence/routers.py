"""The registry of learned routers: `SQLAlchemyRouterRegistry`, `AsyncSQLAlchemyRouterRegistry`.

A router is in one of four states. `candidate`: it was trained. `shadow`: it decides beside the active one,
and what it decides is stored, not followed. `active`: it serves; there is one at most. `retired`: it did.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from sqlalchemy import URL

from stellwerk.persistence import router_units as units
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.router_units import Move, Reason, State, StoredRouter

Url = str | URL | os.PathLike[str]


class SQLAlchemyRouterRegistry:
    """Routers of a database. To share a pool, give it a trace store's `database`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url, pool_size=2))

    def add(self, version: str, file: bytes, card: Mapping[str, Any]) -> StoredRouter:
        """Add a router as a candidate; one of that version which is there already stays as it is.

        Args:
            version: digest of its content, at most 255 bytes.
            file: of any size.
            card: what it was trained on and how good it is, as JSON.

        Raises:
            InputError: if the card is no JSON.
            DatabaseError: if the database fails, as in all methods.
        """
        return self.database.write(lambda c: units.add(c, version, file, card))

    def find(self, beginning: str) -> StoredRouter:
        """The router whose version begins so.

        Raises:
            InputError: if there is none, or more than one.
        """
        return self.database.read(lambda c: units.find(c, beginning))

    def in_state(self, state: State) -> StoredRouter | None:
        """The newest router in a state; of `active` and `shadow` there is one at most."""
        return self.database.read(lambda c: units.in_state(c, state))

    def load(self, version: str) -> bytes:
        """The file of a router, checked against its digest.

        Raises:
            InputError: if there is no such router.
            UntrustedDataError: if the file is not the one that was added.
        """
        return self.database.read(lambda c: units.load(c, version))

    def promote(self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None) -> Move:
        """Make a router the one that serves; the one before is retired. Programs see it when they start anew.

        Args:
            version: in full.
            who: decides so.
            why: in words.
            evidence: what it is decided on, as JSON.

        Raises:
            InputError: if there is no such router, it is active already, or who or why is blank.
        """
        return self.database.write(lambda c: units.promote(c, version, Reason(who, why, evidence)))

    def shadow(self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None) -> Move:
        """Let a router decide beside the active one; the one before is a candidate again. As `promote`."""
        return self.database.write(lambda c: units.shadow(c, version, Reason(who, why, evidence)))

    def retire(self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None) -> Move:
        """Take a router out of use; of the active one no other takes the place. As `promote`."""
        return self.database.write(lambda c: units.retire(c, version, Reason(who, why, evidence)))

    def rollback(self, *, who: str, why: str, evidence: Mapping[str, Any] | None = None) -> Move:
        """Go back to the router that the active one took the place of, or to none if there was none.

        Raises:
            InputError: if no router is active, the one before was deleted, or who or why is blank.
        """
        return self.database.write(lambda c: units.rollback(c, Reason(who, why, evidence)))

    def describe(self, version: str, card: Mapping[str, Any]) -> None:
        """Put another card in the place of a router's.

        Raises:
            InputError: if there is no such router, or the card is no JSON.
        """
        self.database.write(lambda c: units.describe(c, version, card))

    def discard(self, version: str) -> None:
        """Delete a router that is neither active nor in the shadow. What the history says of it stays.

        Raises:
            InputError: if there is no such router, or it is in use.
        """
        self.database.write(lambda c: units.discard(c, version))

    def history(self, version: str | None = None, *, limit: int | None = None) -> list[Move]:
        """What became of one router or of all, newest first."""
        return self.database.read(lambda c: units.history(c, version, limit))

    def list(self) -> list[StoredRouter]:
        """All routers, newest first."""
        return self.database.read(units.every)

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSQLAlchemyRouterRegistry:
    """As `SQLAlchemyRouterRegistry`, for async code: the same methods."""

    def __init__(self, database: AsyncDatabase) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """As `SQLAlchemyRouterRegistry.from_url`."""
        return cls(AsyncDatabase.from_url(url, pool_size=2))

    async def add(self, version: str, file: bytes, card: Mapping[str, Any]) -> StoredRouter:
        """As `SQLAlchemyRouterRegistry.add`."""
        return await self.database.write(lambda c: units.add(c, version, file, card))

    async def find(self, beginning: str) -> StoredRouter:
        """As `SQLAlchemyRouterRegistry.find`."""
        return await self.database.read(lambda c: units.find(c, beginning))

    async def in_state(self, state: State) -> StoredRouter | None:
        """As `SQLAlchemyRouterRegistry.in_state`."""
        return await self.database.read(lambda c: units.in_state(c, state))

    async def load(self, version: str) -> bytes:
        """As `SQLAlchemyRouterRegistry.load`."""
        return await self.database.read(lambda c: units.load(c, version))

    async def promote(
        self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None
    ) -> Move:
        """As `SQLAlchemyRouterRegistry.promote`."""
        return await self.database.write(lambda c: units.promote(c, version, Reason(who, why, evidence)))

    async def shadow(
        self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None
    ) -> Move:
        """As `SQLAlchemyRouterRegistry.shadow`."""
        return await self.database.write(lambda c: units.shadow(c, version, Reason(who, why, evidence)))

    async def retire(
        self, version: str, *, who: str, why: str, evidence: Mapping[str, Any] | None = None
    ) -> Move:
        """As `SQLAlchemyRouterRegistry.retire`."""
        return await self.database.write(lambda c: units.retire(c, version, Reason(who, why, evidence)))

    async def rollback(self, *, who: str, why: str, evidence: Mapping[str, Any] | None = None) -> Move:
        """As `SQLAlchemyRouterRegistry.rollback`."""
        return await self.database.write(lambda c: units.rollback(c, Reason(who, why, evidence)))

    async def describe(self, version: str, card: Mapping[str, Any]) -> None:
        """As `SQLAlchemyRouterRegistry.describe`."""
        await self.database.write(lambda c: units.describe(c, version, card))

    async def discard(self, version: str) -> None:
        """As `SQLAlchemyRouterRegistry.discard`."""
        await self.database.write(lambda c: units.discard(c, version))

    async def history(self, version: str | None = None, *, limit: int | None = None) -> list[Move]:
        """As `SQLAlchemyRouterRegistry.history`."""
        return await self.database.read(lambda c: units.history(c, version, limit))

    async def list(self) -> list[StoredRouter]:
        """As `SQLAlchemyRouterRegistry.list`."""
        return await self.database.read(units.every)

    async def close(self) -> None:
        """Close the pool, if it is its own."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
