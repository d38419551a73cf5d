"""Which driver serves a URL."""

from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.persistence.urls import parse_url
from tests.persistence.savers import at


async def test_aiosqlite_is_served_in_threads(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(f"sqlite+aiosqlite:///{tmp_path / 'runs.sqlite'}") as saver:
        assert await saver.aget_tuple(at("t")) is None


def test_a_driver_of_no_extra_that_is_absent_is_named_with_what_would_serve() -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_url("postgresql+pg8000://me:secret@host/name")
    said = str(raised.value)
    assert "the driver pg8000 is not installed" in said
    assert "takes psycopg" in said
    assert "secret" not in said
