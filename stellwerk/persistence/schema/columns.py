"""Column types that mean the same on SQLite, PostgreSQL, MySQL and MariaDB.

What identifies a row is stored as bytes: a text key would follow the server's collation, which on MySQL
takes `a` for `A` and pads blanks, so that one thread could read another's state, and PostgreSQL's text
cannot hold a NUL.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, LargeBinary, MetaData, Text, TypeDecorator
from sqlalchemy.dialects import mysql

from stellwerk.errors import InputError

EVER = datetime(1970, 1, 1, tzinfo=UTC)  # the end of a lease that is free
MAX_KEY = 255  # bytes; InnoDB's keys stop at 3,072 bytes in all

metadata = MetaData()

# For every table: InnoDB, for its transactions, and bytewise text.
TABLE_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def digest_type() -> LargeBinary:
    """The 16 bytes of `digest`."""
    return LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


def key_type(length: int = MAX_KEY) -> LargeBinary:
    """Part of a key, as UTF-8; see `key`."""
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def bytes_type() -> LargeBinary:
    """Bytes up to the database's limit: 1 GB on PostgreSQL and SQLite, 4 GB on MySQL."""
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class UTF8(TypeDecorator[str]):
    """Text for people to read, and never a key. A NUL, which PostgreSQL refuses, is stored as its picture."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """LONGTEXT where TEXT ends at 64 KB."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.LONGTEXT())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Text that every database takes; a lone surrogate becomes a question mark."""
        if value is None:
            return None
        return value.replace("\0", "\u2400").encode("utf-8", "replace").decode()


class Moment(TypeDecorator[datetime]):
    """A moment, stored in UTC to the microsecond, as not every database keeps a time zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """MySQL drops fractions of a second unless told otherwise."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """With its time zone."""
        return None if value is None else value.replace(tzinfo=UTC)


def digest(text: str) -> bytes:
    """16 bytes that stand for a text of any length in a key (BLAKE2b)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def key(name: str, value: str) -> bytes:
    """A text as part of a key.

    Raises:
        InputError: if it has more than 255 bytes.
    """
    encoded = value.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_KEY:
        raise InputError(f"{name} {value[:40]!r}... has {len(encoded):,} bytes; use at most {MAX_KEY}")
    return encoded


def text(stored: bytes) -> str:
    """The text of a key."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode("utf-8", "surrogatepass")


def microseconds(moment: datetime) -> int:
    """A moment as microseconds since 1970, UTC."""
    return round(moment.timestamp() * 1_000_000)


def moment(since_1970: int) -> datetime:
    """The moment of so many microseconds."""
    return datetime.fromtimestamp(since_1970 / 1_000_000, UTC)
