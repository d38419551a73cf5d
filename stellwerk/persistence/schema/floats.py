"""A column of floats of 32 bits: bytes everywhere but on PostgreSQL, where it is one that pgvector can cast.

In Python it is little-endian bytes on every database.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, LargeBinary, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from stellwerk.persistence.schema.columns import bytes_type

_HEADER = 20  # bytes before the elements of an array that PostgreSQL sends


class Floats(TypeDecorator[bytes]):
    """Floats of 32 bits, in bytes; at least one.

    Drivers would make an object of each float, so PostgreSQL gets text, which takes a quarter of the time of
    a list, and gives the bytes that it sends arrays in.
    """

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """`real[]` on PostgreSQL: its `bytea` cannot be cast to a vector."""
        return dialect.type_descriptor(_Reals() if dialect.name == "postgresql" else bytes_type())

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """An array's text on PostgreSQL."""
        if value is None or dialect.name != "postgresql":
            return value
        number = len(value) // 4
        # Nine digits tell a float of 32 bits from every other.
        return ("{" + ",".join(("%.9g",) * number) + "}") % struct.unpack(f"<{number}f", value)

    def bind_expression(self, bindparam: BindParameter[bytes]) -> ColumnElement[bytes]:
        """See `_given`."""
        return _given(bindparam)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See `_sent`."""
        return _sent(column)


class _Reals(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "REAL[]"


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


class _given(FunctionElement[bytes]):  # noqa: N801
    """A parameter, which is text on PostgreSQL."""

    inherit_cache = True


class _sent(FunctionElement[bytes]):  # noqa: N801
    """A column as it is read."""

    type = _Sent()
    inherit_cache = True


@compiles(_given)
@compiles(_sent)
def _plain(element: FunctionElement[bytes], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_given, "postgresql")
def _cast(element: _given, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(CAST({compiler.process(element.clauses, **options)} AS TEXT) AS REAL[])"


@compiles(_sent, "postgresql")
def _as_sent(element: _sent, compiler: SQLCompiler, **options: Any) -> str:
    return f"array_send({compiler.process(element.clauses, **options)})"
