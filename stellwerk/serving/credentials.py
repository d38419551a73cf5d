"""Whose key or token it is, whatever server asks."""

from __future__ import annotations

from stellwerk.serving.api_keys import PREFIX, ApiKeys
from stellwerk.serving.tokens import Tokens
from stellwerk.settings import ServingSettings


class Credentials:
    """Knows the owner of a key or a token; a key's name and a token's subject are never one owner.

    Raises:
        ConfigurationError: if keys or tokens are declared and cannot be checked.
    """

    def __init__(self, serving: ServingSettings) -> None:
        self._keys = None if serving.api_keys_file is None else ApiKeys(serving.api_keys_file)
        self._tokens = None if serving.jwt_key_file is None else Tokens(serving)

    @property
    def asked_for(self) -> bool:
        """Whether anybody has to say who they are."""
        return self._keys is not None or self._tokens is not None

    def owner_of(self, given: str) -> str | None:
        """Whose it is; None for nobody's."""
        if given.startswith(PREFIX):
            name = self._keys.name_of(given) if self._keys is not None else None
            return name and f"key:{name}"
        subject = self._tokens.subject_of(given) if given and self._tokens is not None else None
        return subject and f"jwt:{subject}"
