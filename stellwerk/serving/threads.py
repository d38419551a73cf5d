"""Whose threads there are."""

from __future__ import annotations

import re
import secrets
from typing import Any

from sqlalchemy import Connection

from stellwerk.persistence import run_units
from stellwerk.persistence.checkpoint_codec import thread_key
from stellwerk.persistence.checkpoint_units import delete_thread
from stellwerk.persistence.owned import owner_digest
from stellwerk.persistence.store import AsyncSQLAlchemyStore
from stellwerk.serving.problem import Problem

_ID = re.compile(r"[0-9a-f]{32}")


class Threads:
    """The threads of each owner, in a store.

    The database knows a thread by a digest of its owner and its id, so that no id leads to another's: whoever
    names one that is not theirs asks for a thread that there is not. The names of all that an owner has begin
    alike, by which the report knows them.
    """

    def __init__(self, store: AsyncSQLAlchemyStore) -> None:
        self._store = store

    async def make(self, owner: str) -> str:
        """A new thread; its id."""
        name = secrets.token_hex(16)
        await self._store.aput(_namespace(owner), name, {"id": name})
        return name

    async def inner(self, owner: str, name: str) -> str:
        """How the database calls a thread.

        Raises:
            Problem: if the owner has no such thread.
        """
        # One way for all that is not there, be it another's or nobody's.
        if not is_id(name) or await self._store.aget(_namespace(owner), name) is None:
            raise Problem(404, "No such thread", "None of your threads has this id; POST /threads makes one.")
        return inner(owner, name)

    async def listed(self, owner: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
        """Threads, newest first."""
        items = await self._store.asearch(_namespace(owner), limit=limit, offset=offset)
        return [{"id": item.key, "created_at": item.created_at.isoformat()} for item in items]

    async def delete(self, owner: str, name: str) -> bool:
        """Delete a thread with its checkpoints and runs, unless it is being run; whether it was deleted."""
        thread = inner(owner, name)
        if not await self._store.database.write(lambda c: _deleted(c, thread)):
            return False
        await self._store.adelete(_namespace(owner), name)
        return True


def inner(owner: str, name: str) -> str:
    """How the database calls a thread of an owner."""
    return scope_of(owner) + name


def scope_of(owner: str) -> str:
    """How the names of all of an owner's threads begin in the database."""
    return f"served-{owner_digest(owner)}-"


def is_id(name: str) -> bool:
    """Whether a thread may have this id."""
    return _ID.fullmatch(name) is not None


def _namespace(owner: str) -> tuple[str, ...]:
    return ("stellwerk-serving", "threads", owner_digest(owner))


def _deleted(connection: Connection, thread: str) -> bool:
    key = thread_key(thread)
    with run_units.kept_free(connection, key) as free:
        if free:
            delete_thread(connection, key)
            runs = run_units.listing(connection, thread_id=thread, statuses=None, limit=None)
            if runs:
                run_units.delete_runs(connection, [run.run_id.encode() for run in runs])
    return free
