"""Which threads are whose, where their names do not say it: LangGraph's server calls them by UUIDs."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select

from stellwerk.persistence.database import Database
from stellwerk.persistence.report_units import Visible
from stellwerk.persistence.schema.items import items
from stellwerk.persistence.store import SQLAlchemyStore
from stellwerk.persistence.store_codec import joined, split

LOCAL = "local"  # the owner of all, where nobody says who they are


def owner_digest(owner: str) -> str:
    """What stands for an owner in names: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(["stellwerk", "owner", owner]).encode()).hexdigest()


def note_thread(database: Database, owner: str, thread_id: str) -> None:
    """Note that a thread is an owner's, who has been let in to run it.

    Raises:
        DatabaseError: if the database fails.
    """
    SQLAlchemyStore(database).put(_namespace(owner), thread_id, {"id": thread_id})


def threads_noted(owner: str) -> Visible:
    """Rows of threads that were noted as an owner's."""
    head, rest = split(joined(_namespace(owner)))
    noted = select(items.c.key).where(items.c.namespace == head, items.c.namespace_rest == rest)
    return lambda table: table.c.thread_id.in_(noted)


def _namespace(owner: str) -> tuple[str, ...]:
    return ("stellwerk-studio", "threads", owner_digest(owner))
