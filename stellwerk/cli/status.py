"""A line that says how far a long command is, on a terminal; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def status(doing: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error what is being done, and what is then said of it."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda said: None
        return
    with console.status(Text(f"{doing} …")) as shown:
        yield lambda said: shown.update(Text(f"{doing}: {said} …"))
