"""One tier as a chat model, for one attempt of an agent: with its queue, its limits and its bill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr, SkipValidation

from stellwerk.chat.asking import Asking
from stellwerk.chat.climb import Try
from stellwerk.chat.offered import Offered
from stellwerk.chat.record import untold
from stellwerk.chat.tool_chat import ToolChat
from stellwerk.errors import TierError
from stellwerk.nodes.tracing import model_name
from stellwerk.outcome import Call


class TierChat(ToolChat):
    """The model of one attempt.

    Args:
        step: the tier, and the terms.
        owner: name of the worker, for the bill.
        flow: the thread that its calls belong to.
    """

    step: Annotated[Try, SkipValidation]
    owner: str
    flow: str = ""

    _calls: list[Call] = PrivateAttr(default_factory=list)
    _offered: Offered | None = PrivateAttr(default=None)

    @property
    def calls(self) -> list[Call]:
        """What was asked so far, billed."""
        return self._calls

    @property
    def offered(self) -> Offered | None:
        """What the last call offered; None before the first."""
        return self._offered

    @property
    def _llm_type(self) -> str:
        return "stellwerk-tier"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        # Not as an attribute: by it, agents choose how they ask for structured output, for each tier anew.
        return {"model_name": model_name(self.step.tier), "tier": self.step.tier.name}

    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(max_input_tokens=self.step.tier.context_window)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "stellwerk"
        params["ls_model_name"] = model_name(self.step.tier)
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asking = self._asking(messages, stop, kwargs)
        try:
            with untold():
                reply = asking.tier.call(asking.request)
        except TierError as error:
            asking.lost(error)
            raise
        return ChatResult(generations=[ChatGeneration(message=asking.took(reply))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asking = self._asking(messages, stop, kwargs)
        try:
            with untold():
                reply = await asking.tier.acall(asking.request)
        except TierError as error:
            asking.lost(error)
            raise
        return ChatResult(generations=[ChatGeneration(message=asking.took(reply))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asking = self._asking(messages, stop, kwargs)
        try:
            with closing(asking.stream()) as stream:
                for each in stream:
                    if isinstance(each, AIMessageChunk):
                        yield ChatGenerationChunk(message=each)
                    else:
                        asking.took(each)
        except TierError as error:
            asking.lost(error)
            raise

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asking = self._asking(messages, stop, kwargs)
        try:
            async with aclosing(asking.astream()) as stream:
                async for each in stream:
                    if isinstance(each, AIMessageChunk):
                        yield ChatGenerationChunk(message=each)
                    else:
                        asking.took(each)
        except TierError as error:
            asking.lost(error)
            raise

    def _asking(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Asking:
        given = {name: value for name, value in options.items() if name not in ("stream", "strict")}
        self._offered = Offered.of({**given, "stop": stop})
        return Asking(self.step, self._offered, messages, owner=self.owner, flow=self.flow, calls=self._calls)
