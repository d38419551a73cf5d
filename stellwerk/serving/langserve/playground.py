"""LangServe's page to try a graph in a browser."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import langserve
from fastapi import Response

from stellwerk.serving.problem import Problem

# The page has a script in it, its forms are compiled by `new Function`, and its styles made on the way.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def check_file(path: str) -> None:
    """Check that a file is part of the playground; LangServe opens whatever is below its folder.

    Raises:
        Problem: if it is none.
    """
    if path and path not in _parts():
        raise Problem(404, "No such file", "It is no part of the playground; open playground/ for the page.")


def guarded(response: Response) -> Response:
    """With headers that keep the page from loading, or sending, anything elsewhere."""
    response.headers.update(_HEADERS)
    return response


@cache
def _parts() -> frozenset[str]:
    folder = Path(str(files(langserve))) / "playground" / "dist"
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
