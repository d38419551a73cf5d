"""JSON Web Tokens: who is asking, as somebody says whom the settings trust."""

from __future__ import annotations

from typing import Any

from stellwerk.errors import ConfigurationError, MissingExtraError
from stellwerk.settings import ServingSettings

_LEEWAY = 10.0  # seconds by which clocks may differ
_SHORTEST = 32  # bytes of a shared secret, as RFC 7518 wants for HS256


class Tokens:
    """Checks tokens by one key and one algorithm; what a token itself says of either counts for nothing.

    Raises:
        ConfigurationError: if the key cannot be used.
        MissingExtraError: if PyJWT is not installed.
    """

    def __init__(self, serving: ServingSettings) -> None:
        try:
            import jwt
        except ImportError:
            raise MissingExtraError("pyjwt", "serve") from None
        assert serving.jwt_key_file is not None
        assert serving.jwt_algorithm is not None
        self._jwt: Any = jwt
        self._algorithm: str = serving.jwt_algorithm
        self._issuer, self._audience = serving.jwt_issuer, serving.jwt_audience
        where = f"serve.jwt_key_file: {serving.jwt_key_file}"
        try:
            key = serving.jwt_key_file.read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(f"{where} cannot be read: {error.strerror or error}") from None
        if self._algorithm == "HS256" and len(key) < _SHORTEST:
            raise ConfigurationError(
                f"{where} has {len(key)} bytes; a secret of HS256 has {_SHORTEST} at least: "
                "openssl rand -hex 32"
            )
        wrong = False
        try:
            self._key = jwt.get_algorithm_by_name(self._algorithm).prepare_key(key)
        except Exception:  # of several libraries; none of their words may quote the key
            wrong = True
        if wrong:
            raise ConfigurationError(f"{where} is no key of {self._algorithm}; give the public key as PEM")

    def subject_of(self, token: str) -> str | None:
        """The `sub` of a token that is valid now; None for any other."""
        try:
            claims = self._jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (self._jwt.PyJWTError, ValueError, TypeError):
            return None
        subject = claims["sub"]
        return subject if isinstance(subject, str) and subject else None
