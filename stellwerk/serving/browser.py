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
    if (origin := headers.get("origin")) is None:
        return False
    scheme = origin.partition(":")[0]
    place = _place(origin, scheme)
    return place is None or place != _place(f"//{headers.get('host', '')}", scheme)


def shows_page(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks for one of the pages, to show it to a person."""
    return method == "GET" and "text/html" in headers.get("accept", "") and _PAGES.fullmatch(path) is not None


def _place(address: str, scheme: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port or _PORTS.get(scheme)) if host else None
