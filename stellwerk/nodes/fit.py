"""Does a prompt fit, with the answer that it asks for?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from stellwerk.errors import ContextOverflowError, TierError
from stellwerk.nodes.step import Work
from stellwerk.tiers.tier import MOST_CHARACTERS_PER_TOKEN, Request, Tier

PER_MESSAGE = 8  # tokens of a chat template around a message, at most, in the families served


@dataclass(frozen=True)
class Count:
    """Counting of tokens that a step wants done; a tokenizer may ask a server."""

    tier: Tier
    text: str

    def do(self) -> int:
        """Count."""
        assert self.tier.tokenizer is not None
        return self.tier.tokenizer(self.text)

    async def ado(self) -> int:
        """Count, in a thread."""
        return await asyncio.to_thread(self.do)


def check_fit(tier: Tier, request: Request) -> Generator[Work, int, None]:
    """Refuse a request whose prompt and answer cannot both be in the tier's context window.

    A token is at least a byte, so a short prompt fits without being counted; others are counted with the
    tier's tokenizer, where it has one. Without one, only what is too long for any tokenizer is refused here,
    and the server counts the rest. Nothing is ever cut.

    Raises:
        ContextOverflowError: with the numbers, and what to do.
    """
    texts = [str(message.text) for message in request.messages] + [json.dumps(tool) for tool in request.tools]
    text, around = "\n".join(texts), PER_MESSAGE * len(texts)
    answer = request.max_tokens or 0
    if len(text.encode(errors="replace")) + around + answer <= tier.context_window:
        return
    prompt, how = len(text) // MOST_CHARACTERS_PER_TOKEN, "at least"
    if tier.tokenizer is not None:
        with suppress(TierError):  # a server that does not count may answer all the same
            prompt, how = (yield Count(tier, text)) + around, "up to"
    if prompt + answer > tier.context_window:
        raise ContextOverflowError(
            f"the prompt has {how} {prompt:,} tokens and its answer may have {answer:,}; tier {tier.name!r} "
            f"holds {tier.context_window:,} in all: split the documents or add a tier with a larger context "
            "window"
        )
