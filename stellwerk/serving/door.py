"""Who is served: those with a key or a token, or else this machine alone."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from stellwerk.errors import ConfigurationError
from stellwerk.persistence.owned import LOCAL
from stellwerk.serving.browser import (
    CHALLENGE,
    from_another_site,
    from_own_page,
    password_of,
    shows_page,
)
from stellwerk.serving.credentials import Credentials
from stellwerk.serving.problem import Problem
from stellwerk.settings import ServingSettings


class Door:
    """Tells whose request it is.

    Raises:
        ConfigurationError: if keys or tokens are declared and cannot be checked.
    """

    def __init__(self, serving: ServingSettings) -> None:
        self._credentials = Credentials(serving)

    def owner(self, request: Request) -> str:
        """Whose request it is.

        Raises:
            Problem: if they do not say who they are, or a browser says it for a page of another site; or,
                where nobody has to say it, if they are not on this machine.
        """
        if not self.asks:
            _check_local(request)
            return LOCAL
        return self.known(request.headers, request.method, request.scope["path"])

    @property
    def asks(self) -> bool:
        """Whether anybody has to say who they are."""
        return self._credentials.asked_for

    def known(self, headers: Mapping[str, str], method: str = "", path: str = "") -> str:
        """Whose request it is, where they have to say it.

        Args:
            headers: of the request, names in lower case.
            method: of the request; it and the path tell whether a browser is to ask for a password.
            path: of the request.

        Raises:
            Problem: if they do not say who they are, or a browser says it for a page of another site.
        """
        given = _given(headers)
        if not given and (given := password_of(headers.get("authorization", ""))):
            _check_own(headers)
        if owner := self._credentials.owner_of(given):
            return owner
        browser = shows_page(method, path, headers) or from_own_page(headers)
        raise Problem(
            401,
            "Not authorised",
            "The key or token is missing, unknown, or not valid any more; "
            + ("give it as the password." if browser else "send it as 'Authorization: Bearer ...'."),
            headers={"WWW-Authenticate": CHALLENGE if browser else "Bearer"},
        )


def check_exposure(serving: ServingSettings) -> None:
    """Check that nobody is served from elsewhere without a key or a token.

    Raises:
        ConfigurationError: if they would be.
    """
    if not serving.closed and not _is_local(serving.host):
        raise ConfigurationError(
            f"serve.host: {serving.host} can be reached from elsewhere, where nobody says who they "
            "are; set serve.api_keys_file (stellwerk serve key NAME) or the serve.jwt_... keys, or listen on "
            "127.0.0.1"
        )


_BEARER = HTTPBearer(
    auto_error=False, description="An API key, or a JSON Web Token; this machine alone is served without."
)
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")


async def owner_of(
    request: Request, _: Annotated[Any, Security(_BEARER)], __: Annotated[Any, Security(_HEADER)]
) -> str:
    """Whose request it is, for routes to depend on. What is asked for in vain is for /openapi.json."""
    door: Door = request.app.state.door
    return door.owner(request)


Owner = Annotated[str, Depends(owner_of)]


def _given(headers: Mapping[str, str]) -> str:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return headers.get("x-api-key", "")


def _check_own(headers: Mapping[str, str]) -> None:
    if from_another_site(headers):
        raise Problem(
            403,
            "A page of another site asked for it",
            "A browser sends the password whichever page asks, so enter this address by itself, and follow "
            "no link from elsewhere; programs send the key or token as 'Authorization: Bearer ...'.",
        )


def _check_local(request: Request) -> None:
    # The host as well: a page that a browser shows here may have its name lead to this machine. The origin is
    # that of the page, where a browser sends one.
    client = request.client.host if request.client else "127.0.0.1"
    host = _host(request.headers.get("host", ""))
    origin = request.headers.get("origin")
    page = host if origin is None else _host(origin.partition("//")[2])
    if not all(map(_is_local, (client, host, page))):
        raise Problem(
            403,
            "Only this machine is served",
            "Without keys or tokens, requests come from 127.0.0.1 and name it as their host; set "
            "serve.api_keys_file or the serve.jwt_... keys to serve others.",
        )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
