"""One attempt of a routed call: the request to its tier, and the bill."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from stellwerk.chat.climb import Try
from stellwerk.chat.offered import Offered
from stellwerk.chat.record import new_call, untold
from stellwerk.chat.verdict import mended
from stellwerk.errors import TierError
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.outcome import Call
from stellwerk.tiers.tier import Reply


class Asking:
    """A call of a tier's model that is about to be made.

    Args:
        step: which tier, on what terms.
        offered: what the call offers.
        messages: the prompt.
        owner: name of the worker, for the bill.
        flow: the thread that the call belongs to.
        calls: to which the call is added, with what was lost before it.
    """

    def __init__(
        self,
        step: Try,
        offered: Offered,
        messages: Sequence[BaseMessage],
        *,
        owner: str,
        flow: str,
        calls: list[Call],
    ) -> None:
        self.tier = step.tier
        self.request = offered.request(messages, step.tier, step.terms, flow=flow, deadline=step.deadline)
        self._offered = offered
        self._calls = calls
        calls.append(new_call(owner, step.tier.name))

    def stream(self) -> Generator[AIMessageChunk | Reply, None, None]:
        """What the tier streams: chunks, then the reply as a whole. It has to be closed.

        Raises:
            TierError: as `Tier.stream`.
        """
        with closing(cast(Any, self.tier.stream(self.request))) as stream:
            while True:
                with untold():
                    each = next(stream, None)
                if each is None:
                    return
                yield each

    async def astream(self) -> AsyncGenerator[AIMessageChunk | Reply, None]:
        """As `stream`."""
        async with aclosing(cast(Any, self.tier.astream(self.request))) as stream:
            while True:
                with untold():
                    each = await anext(stream, None)
                if each is None:
                    return
                yield each

    def took(self, reply: Reply) -> AIMessage:
        """The message of a reply, mended where it can be."""
        bill(self._calls, reply, self.request)
        message = reply.message
        if "logprobs" in message.response_metadata and not self._offered.options.get("logprobs"):
            # Asked for by the router, not by the program; one for each token fills a checkpoint.
            metadata = {name: each for name, each in message.response_metadata.items() if name != "logprobs"}
            message = message.model_copy(update={"response_metadata": metadata})
        return mended(message, self._offered)

    def lost(self, error: TierError) -> None:
        """There is no reply."""
        bill_error(self._calls, error, self.request)
