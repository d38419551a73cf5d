"""The settings of one tier, and of the server that is started for it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from stellwerk.errors import ConfigurationError
from stellwerk.prices import ListedPrice, listed_price, price_named, price_names
from stellwerk.settings.explain import near

# Upper case only: what is pasted here by mistake is mostly a key, and keys are in mixed case.
VARIABLE = r"^[A-Z_][A-Z0-9_]*$"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")

Url = Annotated[str, Field(pattern=r"^https?://[^/@?#\s]+(/[^@?#\s]*)?$")]
ExpandedPath = Annotated[Path, AfterValidator(Path.expanduser)]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ServeSettings(BaseModel):
    """How `stellwerk tiers serve` starts vLLM for a tier. What is not set follows from the tier.

    Args:
        executable: the `vllm` command.
        weights: path or hub name of the model; the tier's `model` if None, which clients call it by.
        host: address to listen on; that of the tier's URL where it is of this machine alone.
        port: port to listen on; that of the tier's URL.
        tool_parser: vLLM's parser of tool calls; by the model's family if None, `"none"` for no tools.
        chat_template: a file, for models whose own template knows no tools.
        max_queued: requests that run or wait, before the server answers 503; twice `max_concurrency` if None.
        adapters: LoRA adapters to load at the start, as name and path.
        max_lora_rank: the largest rank of an adapter.
        runtime_adapters: whether adapters may be loaded while the server runs. Whoever can reach the
            server can then make it read any adapter that it can read.
        arguments: further arguments of `vllm serve`.
        environment: further variables of its environment; none that hold a secret.
        ready_timeout: seconds until the server must be healthy.
        grace: seconds that it has to end after a signal.
        max_restarts: failures in a row after which it is given up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    executable: str = Field("vllm", min_length=1)
    weights: str | None = Field(None, min_length=1)
    host: str | None = Field(None, min_length=1)
    port: int | None = Field(None, ge=1, le=65535)
    tool_parser: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]+$")
    chat_template: str | None = Field(None, min_length=1)
    max_queued: int | None = Field(None, ge=1)
    adapters: dict[str, str] = {}
    max_lora_rank: int | None = Field(None, ge=1)
    runtime_adapters: bool = False
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    ready_timeout: float = Field(900.0, gt=0, allow_inf_nan=False)
    grace: float = Field(30.0, ge=0, allow_inf_nan=False)
    max_restarts: int = Field(5, ge=0)

    @field_validator("arguments")
    @classmethod
    def _no_key_on_the_command_line(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if any(argument.split("=")[0] == "--api-key" for argument in arguments):
            raise ValueError("no --api-key here, where every user of the machine sees it; set api_key_env")
        return arguments

    @field_validator("environment")
    @classmethod
    def _no_secret(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if _SECRET_NAME.search(name.upper()):
                raise ValueError(f"{name} looks like a secret; export it before you start the server instead")
        return environment


class TierSettings(BaseModel):
    """One tier. Prices in USD per million tokens.

    Args:
        name: how decisions, traces and the ledger call it.
        kind: `"openai"` for any compatible URL, `"vllm"`, or `"embedded"` for llama.cpp in this process.
        model: the model's name at the server, or of `stellwerk models list` for an embedded one.
        url: of the server, or of several with the same model; OpenAI's own if there is none.
        input_price: prompt tokens; the price list's where it knows the model at this URL.
        cached_price: prompt tokens from the prefix cache; `input_price` if None.
        output_price: output tokens.
        priced_as: the entry of the price list that holds, as `provider/model`, for models behind a gateway.
        context_window: tokens of prompt and answer together.
        max_concurrency: requests at a time; None for no limit.
        requests_per_minute: the provider's limit.
        tokens_per_minute: the provider's limit.
        timeout: seconds for one request.
        patience: seconds to wait for a place before the next tier is tried.
        max_wait: seconds that any call waits for a place or a server.
        max_retries: tries after the first, where a server was at fault.
        metrics: whether a vLLM server's `/metrics` may be read; it is on a tier of kind `"vllm"`.
        adapter: name of the LoRA adapter that answers.
        priority: of requests at a vLLM server that schedules by priority; lower goes first.
        api_key_env: name of the environment variable that holds the key, never the key.
        api_key_file: a file that holds the key and nothing else.
        serve: how `stellwerk tiers serve` starts the server.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1)
    kind: Literal["openai", "vllm", "embedded"] = "openai"
    model: str = Field(min_length=1)
    url: Annotated[tuple[Url, ...], BeforeValidator(_several)] = ()
    input_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    cached_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    output_price: float | None = Field(None, ge=0, allow_inf_nan=False)
    priced_as: str | None = None
    context_window: int = Field(32_768, ge=1)
    max_concurrency: int | None = Field(16, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    timeout: float = Field(120.0, gt=0, allow_inf_nan=False)
    patience: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_wait: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_retries: int | None = Field(None, ge=0)
    metrics: bool | None = None
    adapter: str | None = Field(None, min_length=1)
    priority: int | None = None
    api_key_env: str | None = Field(None, pattern=VARIABLE)
    api_key_file: ExpandedPath | None = None
    serve: ServeSettings = ServeSettings()

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "base_url" not in given:
            return given
        if "url" in given:
            raise ValueError("base_url is the older name of url; give url only")
        given = dict(given)
        url = given.pop("base_url")
        return given if url is None else {**given, "url": url}

    @field_validator("priced_as")
    @classmethod
    def _in_the_list(cls, name: str | None) -> str | None:
        if name is not None and price_named(name) is None:
            hint = near(name, price_names())
            raise ValueError(f"the price list has no such entry; {hint}see: stellwerk prices list")
        return name

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        # Half a price would count half of the tokens as free.
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("give both input_price and output_price, or neither")
        if self.cached_price is not None and self.input_price is None:
            raise ValueError("cached_price needs input_price and output_price")
        if self.priced_as is not None and self.input_price is not None:
            raise ValueError("give input_price and output_price, or priced_as, not both")
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        if self.kind == "vllm" and not self.url:
            raise ValueError("a vllm tier needs a url, such as http://127.0.0.1:8000/v1")
        if self.kind == "embedded":
            for key in (
                *("url", "api_key_env", "api_key_file", "adapter", "priority"),
                *("max_wait", "max_retries", "metrics"),
            ):
                if getattr(self, key) not in ((), None):
                    raise ValueError(f"an embedded tier runs in this process and has no {key}; remove it")
            for key in ("max_concurrency", "requests_per_minute", "tokens_per_minute"):
                if key in self.model_fields_set and getattr(self, key) not in (None, 1):
                    raise ValueError(f"embedded tiers answer one call at a time and have no {key}; remove it")
        return self

    @property
    def base_url(self) -> str | None:
        """The first URL, or None for OpenAI's own."""
        return self.url[0] if self.url else None

    @property
    def listed(self) -> ListedPrice | None:
        """The entry of the price list that gives this tier its price, where it has none of its own."""
        if self.input_price is not None or self.kind == "embedded":
            return None
        if self.priced_as is not None:
            return price_named(self.priced_as)
        return listed_price(self.model, self.base_url)

    def api_key(self) -> SecretStr | None:
        """The key, from where the settings say; None where they say nothing.

        Raises:
            ConfigurationError: if the variable is not set, or the file cannot be read or is empty.
        """
        if self.api_key_env is not None:
            if not (key := os.environ.get(self.api_key_env)):
                raise ConfigurationError(
                    f"tier {self.name!r} takes its key from {self.api_key_env}, which is not set; "
                    "export it first"
                )
            return SecretStr(key)
        if self.api_key_file is not None:
            return read_secret(self.api_key_file, f"tier {self.name!r} takes its key")
        return None

    @property
    def key_missing(self) -> str | None:
        """The variable or the file that should hold the key and does not; None if no key is missing."""
        if self.kind == "openai" and not self.url and self.api_key_env is None and self.api_key_file is None:
            return None if os.environ.get("OPENAI_API_KEY") else "OPENAI_API_KEY"
        try:
            self.api_key()
        except ConfigurationError:
            return self.api_key_env or str(self.api_key_file)
        return None

    def without_key(self) -> Self:
        """The same tier for those who call no server."""
        return self.model_copy(update={"api_key_env": None, "api_key_file": None})

    @property
    def loopback(self) -> bool:
        """Whether the first URL is of this machine alone."""
        host = urlsplit(self.base_url).hostname if self.base_url else None
        return host in ("localhost", "::1") or (host or "").startswith("127.")


def read_secret(path: Path, who: str) -> SecretStr:
    """The one line of a file, as Docker and Kubernetes mount a secret.

    Args:
        path: the file.
        who: who wants it, for the message of an error.

    Raises:
        ConfigurationError: if it cannot be read, or is not one line of text.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{who} from {path}, which cannot be read: {said}") from None
    if not text or len(text.splitlines()) > 1:
        wrong = "has several lines" if text else "is empty"
        raise ConfigurationError(f"{who} from {path}, which {wrong}; put the secret there, and nothing else")
    return SecretStr(text)
