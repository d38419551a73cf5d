"""Settings: what the environment says about tiers, models and storage."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from stellwerk.errors import ConfigurationError

_PREFIX = "STELLWERK_"
# Upper case only: what is pasted here by mistake is mostly a key, and keys are in mixed case.
_VARIABLE = r"^[A-Z_][A-Z0-9_]*$"


class TierSettings(BaseModel):
    """One tier behind an OpenAI-compatible URL. Prices in USD per million tokens.

    `api_key_env` is the name of the environment variable that holds the key, never the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    model: str = Field(min_length=1)
    base_url: str | None = Field(None, pattern=r"^https?://[^/@\s]+(/[^@\s]*)?$")
    input_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    cached_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    output_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    context_window: int = Field(32_768, ge=1)
    max_concurrency: int | None = Field(16, ge=1)
    api_key_env: str | None = Field(None, pattern=_VARIABLE)

    @model_validator(mode="after")
    def _prices_belong_together(self) -> Self:
        # Half a price would count half of the tokens as free.
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("give both input_price and output_price, or neither")
        if self.cached_price is not None and self.input_price is None:
            raise ValueError("cached_price needs input_price and output_price")
        return self


class Settings(BaseSettings):
    """Read from the environment as `STELLWERK_TIERS` and so on; use `Settings.load()`.

    Args:
        tiers: cheapest first, as a JSON list; empty for the embedded ladder.
        models: of the embedded ladder, smallest first, as a JSON list.
        database: the SQLite file that holds runs, so that they can be resumed.
        database_url: another database to hold them instead, as `postgresql://user:password@host/name`.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    tiers: tuple[TierSettings, ...] = ()
    models: tuple[str, ...] = Field(
        ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"), min_length=1
    )
    database: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: platformdirs.user_data_path("stellwerk", appauthor=False) / "runs.sqlite"
    )
    database_url: SecretStr | None = None

    @property
    def place(self) -> str | Path:
        """Where runs are kept: a URL, whose password is in it, or a file."""
        return self.database if self.database_url is None else self.database_url.get_secret_value()

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Settings from the environment; `values` go first.

        Raises:
            ConfigurationError: naming the setting, the value found, and what to do.
        """
        known = [_PREFIX + field.upper() for field in cls.model_fields]
        for name in os.environ.keys() - set(known):
            # Only near misses: a cluster sets variables such as STELLWERK_PORT on its own.
            if name.startswith(_PREFIX) and (near := get_close_matches(name, known, n=1, cutoff=0.93)):
                raise ConfigurationError(f"there is no setting {name}; did you mean {near[0]}?")
        try:
            return cls(**values)
        except SettingsError as error:
            raise ConfigurationError(f"{error}; it has to be JSON: {error.__cause__}") from None
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None  # the cause would show what is secret


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join([_PREFIX + path[0].upper(), *path[1:]]) if path else _PREFIX
    if first["type"] == "extra_forbidden":
        fields = TierSettings.model_fields if len(path) > 1 else Settings.model_fields
        return f"{where}: there is no such key; keys: {', '.join(fields)}"
    if path[-1:] == ["api_key_env"]:
        return f"{where}: give the NAME of an environment variable (like OPENAI_API_KEY), never the key"
    found = repr(first["input"])
    shown = "" if "@" in found or isinstance(first["input"], dict) else f" (found {found[:80]})"
    said = first["msg"].removeprefix("Value error, ").replace("tuple", "list").replace("Tuple", "The list")
    return f"{where}: {said}{shown}"
