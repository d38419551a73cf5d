"""Capabilities: what a server was seen to do, which may be less than it claims.

A probe in `tiers` finds them; storage keeps them through the protocols below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, Protocol, Self, get_args

UnparsableSchema = Literal["refused", "ignored", "enforced"]
SWITCHES = (
    "chat",
    "json_schema",
    "structured_outputs",
    "guided_json",
    "named_tool",
    "required_tool",
    "auto_tool",
    "strict_tool",
    "tools_with_schema",
    "logprobs",
    "stream_usage",
    "cached_tokens",
    "adapters_listed",
    "adapters_loadable",
    "tokenizer",
    "metrics",
)
"""The fields that are True, False or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a server does. True and False were seen; None is not known, and nothing may be concluded from it.

    Args:
        chat: whether a plain request is answered; where it is not, nothing else about answers is known.
        json_schema: whether `response_format` with a JSON schema holds the answer to it.
        structured_outputs: the same for `structured_outputs`, vLLM's own form.
        guided_json: the same for `guided_json`, the form that vLLM had before.
        unparsable_schema: what becomes of a schema that is valid, but beyond the server: the request is
            `refused`, the schema `ignored` in part or altogether, or it is `enforced` after all.
        named_tool: whether a tool that the request names is called.
        required_tool: whether some tool is called where one is required.
        auto_tool: whether a call that the model makes of itself arrives as a call.
        strict_tool: whether arguments follow the parameters of a tool that is marked `strict`.
        tools_with_schema: whether tools can still be called in a request that has a schema, too.
        logprobs: whether log-probabilities are given.
        stream_usage: whether a stream says how many tokens it took.
        cached_tokens: whether it is said how many tokens of the prompt were cached.
        adapters_listed: whether LoRA adapters are listed.
        adapters_loadable: whether LoRA adapters can be loaded while it runs.
        tokenizer: whether it counts tokens on request.
        metrics: whether it tells of its load, for Prometheus.
        context_window: tokens of prompt and answer together.
        server: its kind, such as `vllm` or `llama.cpp`; empty if it does not say.
        version: of the server; empty if it does not say.
        details: how each field was seen, in one line.
        unanswered: fields that were asked for and got no answer, and are to be asked for again.
        probe: version of the probe that found this.
    """

    chat: bool | None = None
    json_schema: bool | None = None
    structured_outputs: bool | None = None
    guided_json: bool | None = None
    unparsable_schema: UnparsableSchema | None = None
    named_tool: bool | None = None
    required_tool: bool | None = None
    auto_tool: bool | None = None
    strict_tool: bool | None = None
    tools_with_schema: bool | None = None
    logprobs: bool | None = None
    stream_usage: bool | None = None
    cached_tokens: bool | None = None
    adapters_listed: bool | None = None
    adapters_loadable: bool | None = None
    tokenizer: bool | None = None
    metrics: bool | None = None
    context_window: int | None = None
    server: str = ""
    version: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()
    probe: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "details": dict(self.details), "unanswered": list(self.unanswered)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `to_json` gave, also of another version: keys and values that are not known are left out."""
        known: dict[str, Any] = {
            name: value for name in SWITCHES if isinstance(value := stored.get(name), bool)
        }
        if (seen := stored.get("unparsable_schema")) in get_args(UnparsableSchema):
            known["unparsable_schema"] = seen
        for name in ("context_window", "probe"):
            if type(value := stored.get(name)) is int:
                known[name] = value
        for name in ("server", "version"):
            if isinstance(value := stored.get(name), str):
                known[name] = value
        names = {each.name for each in fields(cls)}
        match stored.get("details"):
            case dict(details):
                known["details"] = {name: str(said) for name, said in details.items() if name in names}
        match stored.get("unanswered"):
            case list(unanswered):
                known["unanswered"] = tuple(name for name in unanswered if name in names)
        return cls(**known)

    def filled_by(self, later: Capabilities) -> Capabilities:
        """These, with what was not answered taken from a later probe."""
        found = {name: getattr(later, name) for name in self.unanswered}
        details = {name: later.details[name] for name in self.unanswered if name in later.details}
        still = tuple(name for name in self.unanswered if name in later.unanswered)
        return replace(self, **found, details={**self.details, **details}, unanswered=still)

    def common(self, other: Capabilities) -> Capabilities:
        """What may be relied on where either server may get the request: of two findings, the worse."""
        values = {name: _worse(getattr(self, name), getattr(other, name)) for name in SWITCHES}
        sizes = [each.context_window for each in (self, other) if each.context_window]
        same = {name: getattr(self, name) for name in ("unparsable_schema", "server", "version")}
        for name, value in same.items():
            if value != getattr(other, name):
                same[name] = getattr(_UNKNOWN, name)
        both = {**values, **same, "context_window": min(sizes, default=None)}
        details = {**other.details, **self.details}
        for name, value in both.items():
            if name in other.details and getattr(self, name) != value == getattr(other, name):
                details[name] = other.details[name]
        unanswered = tuple(dict.fromkeys((*self.unanswered, *other.unanswered)))
        return Capabilities(
            **both, details=details, unanswered=unanswered, probe=min(self.probe, other.probe)
        )


_UNKNOWN = Capabilities()


def _worse(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return True if one and other else None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundCapabilities:
    """What was found, of which model at which server, and when. The server's version is in `capabilities`.

    Args:
        url: of the server, without user, password and query.
        model: as the server calls it.
        capabilities: what was found.
        probed_at: when.
    """

    url: str
    model: str
    capabilities: Capabilities
    probed_at: datetime


class CapabilityStore(Protocol):
    """Keeps what was found for each URL, model and version of the server."""

    def find(self, url: str, model: str, version: str | None = None) -> FoundCapabilities | None:
        """What was found last, of this version of the server, or of any if None."""
        ...

    def save(self, found: FoundCapabilities, /) -> None:
        """Keep it in the place of what was found before of the same version."""
        ...


class AsyncCapabilityStore(Protocol):
    """The same for async code."""

    async def find(self, url: str, model: str, version: str | None = None) -> FoundCapabilities | None:
        """As `CapabilityStore.find`."""
        ...

    async def save(self, found: FoundCapabilities, /) -> None:
        """As `CapabilityStore.save`."""
        ...
