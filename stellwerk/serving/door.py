"""Who is served: those with a key or a token, or else this machine alone."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from stellwerk.errors import ConfigurationError
from stellwerk.serving.api_keys import PREFIX, ApiKeys
from stellwerk.serving.problem import Problem
from stellwerk.serving.tokens import Tokens
from stellwerk.settings import ServingSettings

_LOCAL = "local"  # the owner of all, where nobody says who they are


class Door:
    """Tells whose request it is.

    Raises:
        ConfigurationError: if keys or tokens are declared and cannot be checked.
    """

    def __init__(self, serving: ServingSettings) -> None:
        self._keys = None if serving.api_keys_file is None else ApiKeys(serving.api_keys_file)
        self._tokens = None if serving.jwt_key_file is None else Tokens(serving)

    def owner(self, request: Request) -> str:
        """Whose request it is; a key's name and a token's subject are never one owner.

        Raises:
            Problem: if they do not say who they are, or, where nobody has to, are not on this machine.
        """
        if self._keys is None and self._tokens is None:
            _check_local(request)
            return _LOCAL
        given = _given(request)
        if given.startswith(PREFIX):
            name = self._keys.name_of(given) if self._keys is not None else None
            owner = name and f"key:{name}"
        else:
            subject = self._tokens.subject_of(given) if given and self._tokens is not None else None
            owner = subject and f"jwt:{subject}"
        if owner:
            return owner
        raise Problem(
            401,
            "Not authorised",
            "The key or token is missing, unknown, or not valid any more; send it as "
            "'Authorization: Bearer ...'.",
            headers={"WWW-Authenticate": "Bearer"},
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


def _given(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.headers.get("x-api-key", "")


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
