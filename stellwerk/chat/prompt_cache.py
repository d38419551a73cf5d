"""What a thread's prompt cache is worth: is a cheaper tier still cheaper once it has to read all anew?

A server that answered a turn of a thread has the conversation up to there in its prompt cache, for a while,
and charges less for it. Going to another tier for the next turn gives that up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from typing_extensions import TypedDict

from stellwerk.outcome import Usage
from stellwerk.tiers.tier import CHARACTERS_PER_TOKEN, Price, Tier


class Warm(TypedDict):
    """What a tier is taken to have cached of a thread; plain JSON.

    `messages` is how many messages its last prompt had, and `digest` is of them and of what stood before;
    `tokens` is how many it read and wrote then; `output` how many of those it wrote; `at` is in seconds since
    the epoch. `refuted` is whether it was seen to have cached nothing.
    """

    messages: int
    digest: str
    tokens: int
    output: int
    at: float
    refuted: bool


class Prompt:
    """A prompt of a thread, whose beginning may be cached somewhere.

    Args:
        before: what stands before the messages: system prompt, tools, schema.
        messages: all others.
    """

    def __init__(self, before: Sequence[str], messages: Sequence[BaseMessage]) -> None:
        self._parts = [_text(message) for message in messages]
        self._before = sum(map(len, before))
        self._digests: list[str] = []
        state = hashlib.blake2b(digest_size=16)
        for part in before:
            state.update(f"{len(part)}:".encode() + part.encode("utf-8", "surrogatepass"))
        self._digests.append(state.hexdigest())
        for part in self._parts:
            state.update(f"{len(part)}:".encode() + part.encode("utf-8", "surrogatepass"))
            self._digests.append(state.hexdigest())

    @property
    def tokens(self) -> int:
        """About how many tokens it has."""
        return (self._before + sum(map(len, self._parts))) // CHARACTERS_PER_TOKEN

    def cached(self, warm: Warm | None, now: float, seconds: float) -> int:
        """Tokens of it that a tier is expected to read from its cache.

        Args:
            warm: what is known of the tier; None if it has not answered on this thread.
            now: seconds since the epoch.
            seconds: that a cache lasts.
        """
        if warm is None or warm["refuted"] or now - warm["at"] > seconds:
            return 0
        count = warm["messages"]
        # A history that was cut or summed up since then begins otherwise.
        if count >= len(self._digests) or self._digests[count] != warm["digest"]:
            return 0
        return warm["tokens"]

    def after(self, warm: Warm | None, tokens: int) -> int:
        """About how many tokens it has, given that so many of them were counted by a tier."""
        if not tokens or warm is None:
            return self.tokens
        # The reply of that turn is among what was counted.
        new = self._parts[warm["messages"] + 1 :]
        return tokens + sum(map(len, new)) // CHARACTERS_PER_TOKEN

    def warmed(self, before: Warm | None, usage: Usage, now: float, seconds: float) -> Warm:
        """What a tier has cached once it has answered this prompt.

        A tier that was expected to have something cached and reports that it had nothing is not believed any
        more on this thread, until it reports otherwise.
        """
        expected = self.cached(before, now, seconds)
        was_refuted = before is not None and before["refuted"]
        return Warm(
            messages=len(self._parts),
            digest=self._digests[-1],
            tokens=usage["input"] + usage["output"],
            output=usage["output"],
            at=now,
            refuted=usage["cached"] == 0 and (expected > 0 or was_refuted),
        )


def stays_cheaper(
    last: Tier, other: Tier, prompt: Prompt, warm: Mapping[str, Warm], now: float, seconds: float
) -> tuple[float, float] | None:
    """What the next call costs on the tier of the last turn and on a cheaper one, if the former is less.

    The last turn's tier reads `cached` tokens of the prompt at its price for cached ones, which is
    `cached * (input - cached_price)` less than without its cache. That has to outweigh what the other saves:

        cached * (input - cached_price) > all_anew_on_last - cost_on_other

    Both write as many tokens as the last reply had. A tier that costs more is never held back: the router
    asks it for what it can do.

    Args:
        last: answered the last turn.
        other: the router's choice.
        prompt: of this turn.
        warm: what each tier has cached, by its name.
        now: seconds since the epoch.
        seconds: that a cache lasts.

    Returns:
        USD on `last` and on `other`; None where the switch is to be made, or a price is missing.
    """
    if last.price is None or other.price is None or last.name == other.name:
        return None
    known = warm.get(last.name)
    cached = prompt.cached(known, now, seconds)
    if not cached or known is None:
        return None
    tokens, output = prompt.after(known, cached), known["output"]
    anew = _usd(last.price, tokens, 0, output)
    elsewhere = _usd(other.price, tokens, prompt.cached(warm.get(other.name), now, seconds), output)
    if anew <= elsewhere:
        return None  # not cheaper: it was picked for another reason
    staying = _usd(last.price, tokens, cached, output)
    return (staying, elsewhere) if staying < elsewhere else None


def _usd(price: Price, tokens: int, cached: int, output: int) -> float:
    return price.usd(Usage(input=tokens, cached=min(cached, tokens), output=output))


def _text(message: BaseMessage) -> str:
    content: Any = message.content
    said = content if isinstance(content, str) else json.dumps(content, sort_keys=True, default=str)
    calls = ""
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = json.dumps([[call["name"], call["args"]] for call in message.tool_calls], default=str)
    return f"{message.type}:{said}{calls}"
