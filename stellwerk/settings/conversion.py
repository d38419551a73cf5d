"""Settings of the conversion from a large model to small ones."""

from __future__ import annotations

import os
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from stellwerk.errors import ConfigurationError
from stellwerk.settings.tier import VARIABLE, ExpandedPath

_SHORTEST = 16  # bytes of a key
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class TraceOptions(TypedDict):
    """What a trace store is opened with."""

    origin_keys: list[bytes]
    unknown_consent: Literal["granted", "denied"]


class ConversionSettings(BaseModel):
    """What is collected of runs, and for how long.

    Args:
        origin_key_env: name of the environment variable that holds the key of origins, never the key.
        origin_key_file: a file that holds it; in either, further lines hold keys of before.
        unknown_consent: what counts for threads of which no consent is known, `"granted"` or `"denied"`.
        retention_days: after so many days traces are deleted of which nothing else is said; never if None.
        hci: call sites that talk to a person, as `"chat/*"`, and are not collected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    origin_key_env: str | None = Field(None, pattern=VARIABLE)
    origin_key_file: ExpandedPath | None = None
    unknown_consent: Literal["granted", "denied"] = "granted"
    retention_days: int | None = Field(None, ge=0, le=36_500)
    hci: tuple[Pattern, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.origin_key_env is not None and self.origin_key_file is not None:
            raise ValueError("give origin_key_env or origin_key_file, not both")
        return self

    def origin_keys(self) -> list[bytes]:
        """The keys of origins, from where the settings say; none where they say nothing.

        Raises:
            ConfigurationError: if the variable is not set, the file cannot be read, or a key is too short.
        """
        if self.origin_key_env is not None:
            where, text = self.origin_key_env, os.environ.get(self.origin_key_env, "")
        elif self.origin_key_file is not None:
            where = str(self.origin_key_file)
            try:
                text = self.origin_key_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                said = error.strerror if isinstance(error, OSError) else "it is not text"
                raise ConfigurationError(
                    f"the key of origins is taken from {where}, which cannot be read: {said}"
                ) from None
        else:
            return []
        keys = [line.strip().encode() for line in text.splitlines() if line.strip()]
        if not keys or any(len(key) < _SHORTEST for key in keys):
            wrong = "is not set or empty" if not keys else f"holds one of fewer than {_SHORTEST} bytes"
            raise ConfigurationError(
                f"the key of origins is taken from {where}, which {wrong}; "
                "make one with: openssl rand -hex 32"
            )
        return keys

    def of_traces(self) -> TraceOptions:
        """What a trace store is opened with.

        Raises:
            ConfigurationError: as `origin_keys`.
        """
        return {"origin_keys": self.origin_keys(), "unknown_consent": self.unknown_consent}
