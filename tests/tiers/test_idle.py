"""Answers that are given up when nothing comes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk

from stellwerk.capabilities import Capabilities
from stellwerk.errors import TierTimeoutError
from stellwerk.tiers.tier import Reply, Request, Tier
from tests.fakes import WAIT, Scripted, always


class Dripping(Scripted):
    """Says its words one by one, with a pause before each, in seconds; without streams, all at once."""

    words: Sequence[str] = ("one ", "two ", "three")
    pauses: Sequence[float] = (0.0, 0.0, 0.0)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._note(messages, kwargs)
        for word, pause in zip(self.words, self.pauses, strict=True):
            threading.Event().wait(pause)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._note(messages, kwargs)
        for word, pause in zip(self.words, self.pauses, strict=True):
            await asyncio.sleep(pause)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


def dripping(*pauses: float) -> Dripping:
    return Dripping(reply=always("one two three"), pauses=pauses)


def ask(tier: Tier, *, sync: bool, idle: float) -> Reply:
    request = Request(messages=[HumanMessage("Count.")], idle=idle)
    return tier.call(request) if sync else asyncio.run(tier.acall(request))


def test_an_answer_may_take_longer_than_the_silence_allowed(sync: bool) -> None:
    reply = ask(Tier(name="small", model=dripping(0.25, 0.25, 0.25)), sync=sync, idle=0.6)
    assert reply.text == "one two three"
    assert reply.seconds > 0.6


@pytest.mark.parametrize(
    ("pauses", "said"), [((5, 0, 0), "nothing came for 0.2 s"), ((0, 5, 0), "0.2 s after 1 chunks")]
)
def test_silence_ends_an_answer(pauses: tuple[float, ...], said: str, sync: bool) -> None:
    model = dripping(*pauses)
    with pytest.raises(TierTimeoutError, match=said) as caught:
        ask(Tier(name="small", model=model), sync=sync, idle=0.2)
    assert caught.value.passing
    (failed,) = caught.value.tries
    assert getattr(failed, "seconds") < 4  # noqa: B009  # typed as an object


def test_the_whole_answer_has_its_limit_all_the_same(sync: bool) -> None:
    tier = Tier(name="small", model=dripping(0.2, 0.2, 5), timeout=0.5)
    with pytest.raises(TierTimeoutError, match=r"Timeout"):
        ask(tier, sync=sync, idle=3)


@pytest.mark.parametrize("streams", [True, False])
def test_without_a_stream_the_reply_has_to_come(streams: bool, sync: bool) -> None:
    """A model that has none, and one whose stream would not say what it took."""
    hold = threading.Event()
    model: Scripted
    if streams:
        capabilities = Capabilities(stream_usage=False)
        model = Dripping(reply=always("all"), before=lambda _: hold.wait(WAIT), abefore=_never)
    else:
        capabilities = None
        model = Scripted(reply=always("all"), before=lambda _: hold.wait(WAIT), abefore=_never)
    tier = Tier(name="small", model=model, capabilities=capabilities)
    with pytest.raises(TierTimeoutError):
        ask(tier, sync=sync, idle=0.2)
    hold.set()
    quick = Tier(name="small", model=Scripted(reply=always("all")), capabilities=capabilities)
    assert ask(quick, sync=sync, idle=5).text == "all"


async def _never(_: object) -> None:
    await asyncio.sleep(WAIT)
