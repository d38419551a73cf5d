"""Does a prompt fit, with the answer that it asks for?"""

from __future__ import annotations

import json

from stellwerk.errors import ContextOverflowError
from stellwerk.tiers.tier import Request, Tier

PER_MESSAGE = 8  # tokens of a chat template around a message, at most, in the families served
# Without a tokenizer: none in use packs more than this many characters into a token on average, so what is
# refused would not have fitted. What passes is counted by the server.
MOST_CHARACTERS_PER_TOKEN = 8


def check_fit(tier: Tier, request: Request) -> None:
    """Refuse a request whose prompt and answer cannot both be in the tier's context window.

    Counted with the tier's tokenizer, where it has one. Nothing is ever cut.

    Raises:
        ContextOverflowError: with the numbers, and what to do.
    """
    answer = request.max_tokens or 0
    texts = [str(message.text) for message in request.messages]
    texts += [json.dumps(tool) for tool in request.tools]
    if tier.tokenizer is not None:
        prompt = sum(tier.tokenizer(text) for text in texts) + PER_MESSAGE * len(request.messages)
        how = "up to"
    else:
        prompt = sum(len(text) for text in texts) // MOST_CHARACTERS_PER_TOKEN
        how = "at least"
    if prompt + answer > tier.context_window:
        raise ContextOverflowError(
            f"the prompt has {how} {prompt:,} tokens and its answer may have {answer:,}; tier {tier.name!r} "
            f"holds {tier.context_window:,} in all: split the documents or add a tier with a larger context "
            "window"
        )
