"""The command that starts vLLM for a tier: flags that follow from its settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from stellwerk.errors import ConfigurationError
from stellwerk.settings import Settings, TierSettings
from stellwerk.tiers.tool_parsers import tool_parser

# What a model server needs no other secret for; its hub token (HF_TOKEN) stays.
_NOT_ITS_OWN = ("STELLWERK_DATABASE_URL", "STELLWERK_TIERS", "OPENAI_API_KEY")

# Where a grammar allows any white space, small models fill their answers with it until they are cut off. vLLM
# 0.32 heeds this setting only for a backend that is named.
_COMPACT = '{"backend": "xgrammar", "disable_any_whitespace": true}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a server is started.

    Args:
        argv: the command line; it holds no secret.
        environment: variables to add.
        key: the key that it asks of its clients, which goes into `VLLM_API_KEY`.
        withheld: variables that it does not get, as they are secrets meant for others.
        host: where its health is asked.
        port: where it listens.
        notes: what a person should know.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    key: SecretStr | None
    withheld: tuple[str, ...]
    host: str
    port: int
    notes: tuple[str, ...] = ()

    def shown(self) -> str:
        """As a shell would take it, with the key as ***."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        if self.key is not None:
            variables.append("VLLM_API_KEY=***")
        return " ".join([*variables, shlex.join(self.argv)])

    def child_environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The environment of the server, from that of this process."""
        kept = {name: value for name, value in own.items() if name not in self.withheld}
        kept.pop("VLLM_API_KEY", None)
        kept.update(self.environment)
        if self.key is not None:
            kept["VLLM_API_KEY"] = self.key.get_secret_value()
        return kept


def vllm_command(
    settings: Settings,
    tier: TierSettings,
    *,
    replica: int = 1,
    host: str | None = None,
    key: SecretStr | None = None,
) -> Command:
    """The command for one server of a tier.

    Args:
        settings: of all tiers, whose keys the server does not get.
        tier: which tier.
        replica: which of its URLs, from 1.
        host: address to listen on, instead of that of the settings.
        key: the key, instead of that of the settings.

    Raises:
        ConfigurationError: if the tier cannot be served, or its address or key is not clear.
    """
    serve = tier.serve
    if tier.kind != "vllm":
        raise ConfigurationError(_not_served(tier))
    listen, port = _address(tier, replica, host or serve.host)
    weights = serve.weights or tier.model
    argv = [serve.executable, "serve", weights, "--served-model-name", tier.model]
    argv += ["--host", listen, "--port", str(port)]
    argv += ["--max-model-len", str(tier.context_window), "--enable-prefix-caching"]
    # Without it, the tokens that came from the cache are billed as new.
    argv += ["--enable-prompt-tokens-details", "--structured-outputs-config", _COMPACT]
    notes: list[str] = []
    if tier.max_concurrency is not None:
        # vLLM counts running requests as queued, too; with data parallelism set max_queued by hand.
        queued = serve.max_queued or 2 * tier.max_concurrency
        argv += ["--max-num-seqs", str(tier.max_concurrency), "--max-num-queued-reqs", str(queued)]
    elif serve.max_queued is not None:
        argv += ["--max-num-queued-reqs", str(serve.max_queued)]
    if tier.priority is not None:
        argv += ["--scheduling-policy", "priority"]
    argv += _tools(tier, notes)
    environment = dict(serve.environment)
    argv += _adapters(tier, environment, notes)
    key = key or tier.api_key()
    if key is None and not _loopback(listen):
        notes.append(f"{listen}:{port} asks for no key; set api_key_env unless the network is yours alone")
    return Command(
        argv=(*argv, *serve.arguments),
        environment=environment,
        key=key,
        withheld=(*_NOT_ITS_OWN, *(other.api_key_env for other in settings.tiers if other.api_key_env)),
        host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen),  # noqa: S104  # not bound here
        port=port,
        notes=tuple(notes),
    )


def _not_served(tier: TierSettings) -> str:
    if tier.kind == "embedded":
        return (
            f"tier {tier.name!r} is embedded: llama.cpp runs inside each process that uses it, "
            "and there is nothing to serve"
        )
    return (
        f"tier {tier.name!r} is of kind {tier.kind!r}, a server that is there already; "
        'set kind = "vllm" if its server is to be started here'
    )


def _address(tier: TierSettings, replica: int, host: str | None) -> tuple[str, int]:
    if not 1 <= replica <= len(tier.url):
        raise ConfigurationError(
            f"tier {tier.name!r} has {len(tier.url)} URLs; there is no replica {replica}"
        )
    url = tier.url[replica - 1]
    parts = urlsplit(url)
    if parts.path.rstrip("/") != "/v1":
        raise ConfigurationError(
            f"tier {tier.name!r}: vLLM serves under /v1, and the URL is {url}; let it end in /v1"
        )
    name = parts.hostname or ""
    if host is None:
        if not _loopback(name):
            raise ConfigurationError(
                f"tier {tier.name!r} has the URL {url}, which is not of this machine alone; "
                "say on which address to listen, with --host or serve.host (0.0.0.0 for all)"
            )
        host = name
    port = tier.serve.port or parts.port
    if port is None:
        raise ConfigurationError(
            f"tier {tier.name!r}: the URL {url} has no port; give one there or as serve.port"
        )
    return host, port


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _tools(tier: TierSettings, notes: list[str]) -> list[str]:
    serve = tier.serve
    known = tool_parser(serve.weights or tier.model) or tool_parser(tier.model)
    parser = serve.tool_parser or (known[0] if known else "none")
    template = ["--chat-template", serve.chat_template] if serve.chat_template else []
    if parser == "none":
        if serve.tool_parser is None:
            notes.append(
                f"no tool parser is known for {tier.model}: the model's own tool calls will not be read; "
                "set serve.tool_parser"
            )
        return template
    if known is not None and known == (parser, True) and not serve.chat_template:
        notes.append(f"vLLM's documentation asks for a chat template with {parser}; set serve.chat_template")
    return ["--enable-auto-tool-choice", "--tool-call-parser", parser, *template]


def _adapters(tier: TierSettings, environment: dict[str, str], notes: list[str]) -> list[str]:
    serve = tier.serve
    if tier.adapter is not None and tier.adapter not in serve.adapters and not serve.runtime_adapters:
        raise ConfigurationError(
            f"tier {tier.name!r} answers with the adapter {tier.adapter!r}, which the server will not have; "
            "give its path in serve.adapters, or set serve.runtime_adapters"
        )
    if not serve.adapters and not serve.runtime_adapters:
        return []
    argv = ["--enable-lora", "--max-loras", str(max(1, len(serve.adapters)))]
    if serve.max_lora_rank is not None:
        argv += ["--max-lora-rank", str(serve.max_lora_rank)]
    if serve.adapters:
        argv += ["--lora-modules", *(f"{name}={path}" for name, path in serve.adapters.items())]
    if serve.runtime_adapters:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        notes.append("adapters can be loaded at run time: whoever reaches the server decides which")
    return argv
