"""A column of floats of 32 bits: bytes everywhere but on PostgreSQL, where pgvector can cast it.

In Python it is little-endian bytes on every database.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

from sqlalchemy import REAL, ColumnElement, Dialect, LargeBinary, TypeDecorator
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from stellwerk.persistence.schema.columns import bytes_type

_HEADER = 20  # bytes before the elements of an array that PostgreSQL sends


class Floats(TypeDecorator[bytes]):
    """Floats of 32 bits, in bytes; at least one."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """`real[]` on PostgreSQL: its `bytea` cannot be cast to a vector."""
        floats = postgresql.ARRAY(REAL) if dialect.name == "postgresql" else bytes_type()
        return dialect.type_descriptor(floats)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """A list on PostgreSQL."""
        if value is None or dialect.name != "postgresql":
            return value
        return list(struct.unpack(f"<{len(value) // 4}f", value))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See `_sent`."""
        return _sent(column)


class _Sent(TypeDecorator[bytes]):
    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Without the length that PostgreSQL sends before each element, and in the other order of bytes."""
        if value is None or dialect.name != "postgresql":
            return value
        elements = array("I", bytes(value)[_HEADER:])[1::2]
        elements.byteswap()
        return elements.tobytes()


class _sent(FunctionElement[bytes]):  # noqa: N801
    """A column as it is read: on PostgreSQL as it sends arrays, as a driver would make objects of floats."""

    type = _Sent()
    inherit_cache = True


@compiles(_sent)
def _as_stored(element: _sent, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_sent, "postgresql")
def _as_sent(element: _sent, compiler: SQLCompiler, **options: Any) -> str:
    return f"array_send({compiler.process(element.clauses, **options)})"
