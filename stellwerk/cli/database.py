"""Which database a command works on, and how errors are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from stellwerk.errors import ConfigurationError, InputError, MissingExtraError, StellwerkError
from stellwerk.settings import Settings

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

    return str(settings.database) if settings.database_url is None else shown(parse_url(settings.place))


def database_of(given: str | None, *, create: bool = False) -> str:
    """The URL or path of the database, given or from the settings.

    Args:
        given: what the user said.
        create: whether a SQLite file that is not there is made, readable by its owner only.

    Raises:
        InputError: if there is no such SQLite file.
        ConfigurationError: if the URL cannot be used, or the file cannot be made.
    """
    from stellwerk.persistence.urls import is_memory, parse_url

    database = given if given is not None else str(Settings.load().place)
    if "://" not in database:
        database = os.path.expanduser(database)
    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and not is_memory(url) and "uri" not in url.query:
        path = Path(url.database or "")
        if not path.exists():
            if not create:
                raise InputError(f"there is no database {path}; give another with --database")
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise ConfigurationError(
                    f"cannot make the database {path}: {error.strerror or error}; choose another"
                ) from error
    return database


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
