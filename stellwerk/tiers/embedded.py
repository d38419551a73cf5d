"""The embedded ladder: three small models in this process, for when nothing else is configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from stellwerk.capabilities import Capabilities
from stellwerk.errors import ConfigurationError
from stellwerk.tiers.gate import Gate
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.model_files import MODEL_FILES, model_path
from stellwerk.tiers.tier import Price, Tier

# Hosted models of about two billion parameters list at 0.04 USD per million tokens; the embedded
# models are priced in proportion to their size, so that money compares as it would when hosted.
_USD_PER_MILLION_TOKENS_AND_BILLION_PARAMETERS = 0.02
_CACHED_SHARE = 0.25

EMBEDDED = Capabilities(
    chat=True,
    json_schema=True,
    structured_outputs=False,
    guided_json=False,
    unparsable_schema="ignored",
    named_tool=False,
    required_tool=False,
    tools_with_schema=False,
    logprobs=True,
    stream_usage=True,
    cached_tokens=True,
    adapters_listed=False,
    adapters_loadable=False,
    tokenizer=False,
    metrics=False,
    server="llama.cpp",
)
"""What any model does in this process. Whether its own calls arrive as such depends on the model."""


def embedded_ladder(
    models: Sequence[str] = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"),
    *,
    context_window: int = 8192,
    usd_per_second: float = 0.0,
    **options: Any,
) -> Ladder:
    """The tiers that run in this process, smallest first.

    One call runs at a time over all of them, since one model saturates a laptop's cores.

    Args:
        models: names from `stellwerk models list`, smallest first.
        context_window: tokens per prompt and answer; each model's own limit caps it.
        usd_per_second: what a second of this machine costs, if it is to be counted.
        **options: further fields of `ChatLlamaCpp`, the same for each tier.

    Raises:
        ConfigurationError: if a model is unknown.
    """
    gate = Gate(1)
    tiers = []
    for name in models:
        if (file := MODEL_FILES.get(name)) is None:
            raise ConfigurationError(f"there is no embedded model {name!r}; models: {', '.join(MODEL_FILES)}")
        window = min(context_window, file.context_window)
        rate = _USD_PER_MILLION_TOKENS_AND_BILLION_PARAMETERS * file.parameters / 1e9
        model = ChatLlamaCpp(
            path=partial(model_path, name), model_name=name, context_window=window, **options
        )
        price = Price(input=rate, cached=rate * _CACHED_SHARE, output=rate, second=usd_per_second)
        tier = Tier(
            name=name,
            model=model,
            price=price,
            context_window=window,
            gate=gate,
            tokenizer=model.count_tokens,
            capabilities=replace(EMBEDDED, context_window=window),
            rails=file.rails,
        )
        tiers.append(tier)
    return Ladder(tiers)
