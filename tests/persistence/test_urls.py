"""Which driver serves a URL."""

import subprocess
import sys
from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from stellwerk.persistence.sqlite_file import make_sqlite_file
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


def test_looking_for_a_file_takes_no_locks_away_from_those_who_have_it_open(tmp_path: Path) -> None:
    """Or another process would believe itself alone with it, and delete the log of those here."""
    url = parse_url(tmp_path / "runs.sqlite")
    make_sqlite_file(url)
    assert (tmp_path / "runs.sqlite").stat().st_mode & 0o777 == 0o600
    with SQLAlchemySaver.from_url(url) as saver:
        saver.setup()
        make_sqlite_file(url)
        code = "c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version').fetchone(); c.close()"
        command = [sys.executable, "-c", f"import sqlite3, sys; {code}", str(tmp_path / "runs.sqlite")]
        subprocess.run(command, check=True)
        assert (tmp_path / "runs.sqlite-shm").exists()


def test_a_file_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot open the database {tmp_path}: Is a directory"):
        make_sqlite_file(parse_url(tmp_path))
