"""Which database a command works on, and how errors are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stellwerk.errors import ConfigurationError, InputError, MissingExtraError, StellwerkError
from stellwerk.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy takes a while to import; `--help` does without
    from sqlalchemy import URL

Database = Annotated[
    str | None,
    typer.Option("--database", help="SQLite file or URL of the database.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def settings_of(database: str | None) -> Settings:
    """The settings, with the runs kept where the user says."""
    if database is None:
        return Settings.load()
    if "://" in database:
        return Settings.load(database_url=database)
    return Settings.load(database=database, database_url=None)


def shown_place(settings: Settings) -> str:
    """Where the runs are kept, without a password."""
    from stellwerk.persistence.urls import parse_url, shown

    place = settings.place
    return str(place) if isinstance(place, Path) else shown(parse_url(place))


def existing_database(given: str | None, *, older: bool = False) -> URL:
    """A database of Stellwerk, given or from the settings; nothing of it is made or changed to find out.

    Args:
        given: what the user said.
        older: whether it may be of an older version, which the command will migrate.

    Raises:
        InputError: if there is no such file, or it has no tables of Stellwerk, or those of an older one.
        ConfigurationError: if the URL cannot be used.
        DatabaseError: if the database cannot be reached.
    """
    from stellwerk.persistence.migrate import HEAD
    from stellwerk.persistence.sqlite_file import sqlite_file
    from stellwerk.persistence.urls import parse_url, shown

    url = parse_url(settings_of(given).place)
    path = sqlite_file(url)
    if path is not None and not path.exists():
        raise InputError(f"there is no database {path}; give another with --database")
    found, name = _version(url, path), path or shown(url)
    if found is None:
        raise InputError(
            f"the database {name} has no tables of Stellwerk; give another with --database, "
            "or make them with: stellwerk db upgrade"
        )
    if found < HEAD and not older:
        raise InputError(
            f"the database {name} is of version {found}, and this Stellwerk needs {HEAD}; "
            "run: stellwerk db upgrade"
        )
    return url


def made_database(given: str | None) -> URL:
    """The database, given or from the settings; a SQLite file that is not there is made, for its owner only.

    Raises:
        ConfigurationError: if the URL cannot be used, or the file cannot be made.
    """
    from stellwerk.persistence.sqlite_file import make_sqlite_file
    from stellwerk.persistence.urls import parse_url

    url = parse_url(settings_of(given).place)
    make_sqlite_file(url)
    return url


def _version(url: URL, path: Path | None) -> str | None:
    """The version of the tables, or None where there are none."""
    from sqlalchemy import create_engine

    from stellwerk.persistence.database import FAILURES, database_error
    from stellwerk.persistence.engine import sync_engine
    from stellwerk.persistence.migrate import version

    if path is not None:
        # Not as a command will open it, which turns a file into one with a write-ahead log.
        query = {"mode": "ro", "uri": "true"}
        engine = create_engine(url.set(database=path.absolute().as_uri(), query=query), hide_parameters=True)
    else:
        engine = sync_engine(url, 1)
    try:
        with engine.connect() as connection:
            return version(connection)
    except FAILURES as error:
        raise database_error(url, error) from error
    finally:
        engine.dispose()


def plain(said: str) -> str:
    """As a terminal may be shown it."""
    from stellwerk.cli import render  # with it comes LangGraph; `--help` does without

    return render.plain(said)


@contextmanager
def errors() -> Iterator[None]:
    """Print an error that Stellwerk knows in one line, and end: with 2 for wrong usage, with 1 otherwise."""
    try:
        yield
    except StellwerkError as error:
        typer.echo(f"stellwerk: {plain(str(error))}", err=True)
        wrong_usage = isinstance(error, InputError | ConfigurationError) and not isinstance(
            error, MissingExtraError
        )
        raise typer.Exit(2 if wrong_usage else 1) from None
