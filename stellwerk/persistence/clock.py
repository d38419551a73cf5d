"""The database's own clock, which processes on several machines share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String, bindparam, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from stellwerk.persistence.schema.columns import Moment


class _Clock(FunctionElement[datetime]):
    """Now, plus microseconds; never the start of the transaction, which may have waited for a lock."""

    name = "stellwerk_clock"
    type = Moment()
    inherit_cache = True


def now() -> _Clock:
    """The moment at which the statement runs."""
    return _Clock(literal(0, BigInteger))


def from_now(parameter: str) -> _Clock:
    """The moment that lies a number of microseconds ahead, which is bound to the parameter."""
    return _Clock(bindparam(parameter, type_=BigInteger))


def _ahead(element: _Clock, compiler: Any, **options: Any) -> str:
    written: str = compiler.process(element.clauses.clauses[0], **options)
    return written


@compiles(_Clock, "sqlite")
def _sqlite(element: _Clock, compiler: Any, **options: Any) -> str:
    seconds = f"printf('%+.6f seconds', {_ahead(element, compiler, **options)} / 1000000.0)"
    # Milliseconds, written like the microseconds of other moments, as these are compared as texts.
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds}) || '000')"


@compiles(_Clock, "postgresql")
def _postgresql(element: _Clock, compiler: Any, **options: Any) -> str:
    ahead = _ahead(element, compiler, **options)
    return f"(clock_timestamp() AT TIME ZONE 'UTC' + CAST({ahead} AS BIGINT) * INTERVAL '1 microsecond')"


@compiles(_Clock, "mysql", "mariadb")
def _mysql(element: _Clock, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL {_ahead(element, compiler, **options)} MICROSECOND)"


class _IdleLimit(FunctionElement[str]):
    """Ends the transaction that runs this when its process stands still in it; PostgreSQL only.

    A process that was stopped in the middle of a write would keep what it has locked for good.
    """

    name = "stellwerk_idle_limit"
    type = String()
    inherit_cache = True


def idle_limit() -> _IdleLimit:
    """A column that bounds how long this transaction may idle, in the statement that locks."""
    return _IdleLimit()


@compiles(_IdleLimit)
def _unlimited(element: _IdleLimit, compiler: Any, **options: Any) -> str:
    return "''"


@compiles(_IdleLimit, "postgresql")
def _limited(element: _IdleLimit, compiler: Any, **options: Any) -> str:
    return "set_config('idle_in_transaction_session_timeout', '30s', true)"
