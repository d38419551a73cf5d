"""What browsers send to say who somebody is, and what they send without being told to.

A browser cannot send a bearer token with the address of a page, but asks for a name and a password where a
server wants them (HTTP Basic, RFC 7617), and then sends them by itself with each request to that server, also
with those that pages of other sites make.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

CHALLENGE = 'Basic realm="Stellwerk", charset="UTF-8"'
_PAGES = re.compile(r"/report(/.*)?|/(orchestrator|workers/[^/]+)/playground(/.*)?")
_PORTS = {"http": 80, "https": 443}


def password_of(authorization: str) -> str:
    """The password of Basic credentials; empty for others, and for those that cannot be read."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        _, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password


def from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site, or of another port, had the browser send it, as far as browsers tell.

    Args:
        headers: of the request, names in lower case.
    """
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and not _same(origin, headers)


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a page of this server had the browser send it, as far as browsers tell.

    A browser sends a password without being asked below the address only where it was asked for it; elsewhere
    the same realm has to be named first, such as where a page under `/orchestrator/playground/` runs a task.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    page = headers.get("origin") or headers.get("referer") or ""
    return bool(page) and _same(page, headers)


def shows_page(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks for one of the pages, to show it to a person."""
    return method == "GET" and "text/html" in headers.get("accept", "") and _PAGES.fullmatch(path) is not None


def _same(page: str, headers: Mapping[str, str]) -> bool:
    scheme = page.partition(":")[0]
    place = _place(page, scheme)
    return place is not None and place == _place(f"//{headers.get('host', '')}", scheme)


def _place(address: str, scheme: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port or _PORTS.get(scheme)) if host else None
