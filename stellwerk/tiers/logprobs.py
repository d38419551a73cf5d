"""Log-probabilities of an answer, in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def summarise_logprobs(logprobs: object) -> dict[str, float] | None:
    """What the `logprobs` of an OpenAI-compatible answer say about the answer as a whole.

    `mean`, `min` and `sum` are in nats per token, or of all tokens; `count` is the number of tokens;
    `perplexity` is `exp(-mean)`. Where the server sent alternatives (`top_logprobs`), `entropy` is the mean
    over the tokens of the entropy in nats of what might have stood there. What lies beyond the alternatives
    counts as one more, so it is a lower bound (C. E. Shannon, 'A Mathematical Theory of Communication',
    1948, section 6: to part a choice in two never lowers its entropy).

    Args:
        logprobs: the `logprobs` of a choice, `{"content": [{"token": ..., "logprob": ...}, ...]}`.

    Returns:
        The numbers by name; None if there is no token with a log-probability.
    """
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    tokens = [token for token in _list(content) if _is_logprob(token)]
    if not tokens:
        return None
    values = [float(token["logprob"]) for token in tokens]
    mean = math.fsum(values) / len(values)
    summary = {
        "mean": mean,
        "min": min(values),
        "sum": math.fsum(values),
        "count": float(len(values)),
        "perplexity": math.exp(min(-mean, 700.0)),  # what is beyond has no float
    }
    entropies = [entropy for token in tokens if (entropy := _entropy(token)) is not None]
    if entropies:
        summary["entropy"] = math.fsum(entropies) / len(entropies)
    return summary


def _entropy(token: Mapping[str, Any]) -> float | None:
    others = [other for other in _list(token.get("top_logprobs")) if _is_logprob(other)]
    if not others:
        return None
    # The token itself is among the alternatives or not, depending on the server and on the sampling.
    by_token = {str(each.get("token")): float(each["logprob"]) for each in [*others, token]}
    chances = [math.exp(min(value, 0.0)) for value in by_token.values()]
    chances.append(1.0 - math.fsum(chances))
    return -math.fsum(chance * math.log(chance) for chance in chances if chance > 0)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _is_logprob(token: object) -> bool:
    """Whether a server sent a token with a number that can be summed up."""
    value = token.get("logprob") if isinstance(token, Mapping) else None
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
