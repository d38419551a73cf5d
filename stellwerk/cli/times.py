"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer


def moment(given: str) -> datetime:
    """A time; UTC unless it says."""
    try:
        found = datetime.fromisoformat(given.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{given!r} is no time; give one such as 2026-03-01 or 2026-03-01T12:00+01:00"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


Since = Annotated[
    datetime | None,
    typer.Option("--since", help="From this time on; UTC unless it says.", parser=moment, metavar="TIME"),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", help="Before this time; UTC unless it says.", parser=moment, metavar="TIME"),
]
