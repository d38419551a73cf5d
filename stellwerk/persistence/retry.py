"""Which database errors pass by themselves."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

# Serialization failure, deadlock, lock not available, and a server that starts, stops or is full.
_SQLSTATES = {"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300"}
_MYSQL = {1020, 1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2014, 2055}
_UNPREPARED = {"26000", "42P05"}  # no such prepared statement; there is one already
_SIGNS = (
    "database is locked",
    "table is locked",
    "connect",
    "server closed",
    "lost synchronization",
    "pipeline mode",
)
_FINAL = ("authentication", "does not exist", "access denied", "no password")


def passes(error: BaseException) -> bool:
    """Whether the same unit of work may succeed a moment later."""
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error)
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError)
    if error.connection_invalidated:
        return True
    origin = error.orig
    state = getattr(origin, "sqlstate", None)
    if isinstance(state, str):
        return state in _SQLSTATES | _UNPREPARED or state.startswith("08")
    arguments = getattr(origin, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0] in _MYSQL
    said = str(origin).lower()
    return (
        isinstance(error, OperationalError)
        and any(sign in said for sign in _SIGNS)
        and not any(sign in said for sign in _FINAL)
    )


def lost_statement(error: BaseException) -> bool:
    """Whether a prepared statement went astray, as behind a PgBouncer that shares sessions out."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _UNPREPARED
