"""A ladder as one chat model: each call is routed, checked, and escalated where its answer is broken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from functools import reduce
from typing import Annotated, Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_usage, subtract_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field, InstanceOf, SkipValidation

from stellwerk.budget import Budget
from stellwerk.chat.offered import Offered
from stellwerk.chat.record import KEY, Telling, thread_and_run, untold
from stellwerk.chat.routed_call import RoutedCall
from stellwerk.chat.tool_chat import ToolChat, fits
from stellwerk.chat.verdict import ReplyCheck
from stellwerk.errors import TierError
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import Fixed, SmallestFirst
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.streams import as_chunk
from stellwerk.trace import TRACED, TraceSink


class LadderChatModel(ToolChat):
    """A chat model that asks the tiers of a ladder.

    Each call is a subtask to the router: its instruction is the last human message, its worker's prompt the
    system message. The router decides before the call, and after it where the answer is broken or where the
    router cascades. With tools, a schema, or `checks`, an answer is broken that does not parse, does not
    follow its schema, calls no tool that there is, is empty, cut off or a refusal, or turns in circles. A
    tier that gives no answer is left for the next one in any case. If no attempt gives a sound answer, the
    last one is served as it is.

    `response_metadata["stellwerk"]` says which tier answered and why, what was tried, and what it cost;
    `usage_metadata` adds up all attempts. `model="large"` in a call, or bound, pins it to that tier.

    Answers are streamed as they come where nothing has to be checked: without tools, schema and `checks`, or
    with `check_replies=False`, under a router that does not cascade. Others come in one piece.

    Args:
        ladder: the tiers.
        router: picks the tier of each attempt; `SmallestFirst` by default.
        budget: of each call.
        worker: what routers and traces take the calls for; by default the name of the answer's schema,
            `call_tools` or `chat`.
        check_replies: whether answers are checked.
        checks: further checks, which get the reply and return None or what is wrong in a sentence.
        traces: is told of each attempt.
        model_name: what tracers call the model.
        temperature: for the tiers' models; their own if None.
        max_tokens: of an answer; the tiers' own limit if None.
        stop: words at which an answer ends.
        streaming: whether calls that could be streamed always are.

    Raises:
        ConfigurationError: in a call, if it is pinned to a tier that the ladder does not have.
        TierError: in a call, if no tier answers.
    """

    ladder: InstanceOf[Ladder]
    router: Annotated[Router, SkipValidation] = Field(default_factory=SmallestFirst, repr=False)
    budget: Annotated[Budget, SkipValidation] = Field(default_factory=Budget)
    worker: str | None = None
    check_replies: bool = True
    checks: tuple[ReplyCheck, ...] = Field(default=(), repr=False)
    traces: Annotated[TraceSink | None, SkipValidation] = Field(default=None, repr=False)
    model_name: str = "ladder"
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return "stellwerk-ladder"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        router = getattr(self.router, "name", type(self.router).__name__)
        return {"model_name": self.model_name, "tiers": list(self.ladder.names), "router": router}

    def _resolve_model_profile(self) -> ModelProfile:
        # A prompt that is too long for one tier goes up to the next.
        return ModelProfile(max_input_tokens=max(tier.context_window for tier in self.ladder))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "stellwerk"
        if self.traces is not None:
            cast("dict[str, Any]", params)[TRACED] = True
        return params

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model with answers that follow a schema; an answer that does not is escalated.

        Args:
            schema: a pydantic class, a typed dictionary, or a JSON schema.
            include_raw: whether to give the message and the error beside the value.
            method: `json_schema`, `function_calling` or `json_mode`.
            strict: taken for the sake of other chat models; a schema is strict where it can be.
            **kwargs: none.

        Raises:
            ConfigurationError: if there is no such method.
            ValueError: if there are further arguments.
        """
        if kwargs:
            raise ValueError(f"with_structured_output takes no {', '.join(kwargs)}")
        checked = self.model_copy(update={"checks": (*self.checks, fits(schema))})
        return checked._structured(schema, method, include_raw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        return ChatResult(generations=[ChatGeneration(message=self._asked(call))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        return ChatResult(generations=[ChatGeneration(message=await self._aasked(call))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.needs_all:
            yield ChatGenerationChunk(message=as_chunk(self._asked(call)))
            return
        streamed: list[AIMessageChunk] = []
        while (asking := call.next()) is not None:
            try:
                with closing(asking.stream()) as stream:
                    for each in stream:
                        if isinstance(each, AIMessageChunk):
                            streamed.append(each)
                            yield ChatGenerationChunk(message=_as_own(each))
                        else:
                            call.answered(asking, each)
            except TierError as error:
                call.failed(asking, error)
                if streamed:  # what was passed on cannot be taken back
                    raise
        yield ChatGenerationChunk(message=_end(call.message(), streamed))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.needs_all:
            yield ChatGenerationChunk(message=as_chunk(await self._aasked(call)))
            return
        streamed: list[AIMessageChunk] = []
        while (asking := call.next()) is not None:
            try:
                async with aclosing(asking.astream()) as stream:
                    async for each in stream:
                        if isinstance(each, AIMessageChunk):
                            streamed.append(each)
                            yield ChatGenerationChunk(message=_as_own(each))
                        else:
                            call.answered(asking, each)
            except TierError as error:
                call.failed(asking, error)
                if streamed:
                    raise
        yield ChatGenerationChunk(message=_end(call.message(), streamed))

    def _asked(self, call: RoutedCall) -> AIMessage:
        while (asking := call.next()) is not None:
            try:
                with untold():
                    reply = asking.tier.call(asking.request)
            except TierError as error:
                call.failed(asking, error)
            else:
                call.answered(asking, reply)
        return call.message()

    async def _aasked(self, call: RoutedCall) -> AIMessage:
        while (asking := call.next()) is not None:
            try:
                with untold():
                    reply = await asking.tier.acall(asking.request)
            except TierError as error:
                call.failed(asking, error)
            else:
                call.answered(asking, reply)
        return call.message()

    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
        options: dict[str, Any],
    ) -> RoutedCall:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        given = {name: value for name, value in options.items() if value is not None and name != "stream"}
        pinned = given.pop("model", None)
        thread_id, run_id = thread_and_run()
        metadata = run_manager.metadata if run_manager is not None else {}
        return RoutedCall(
            messages,
            Offered.of({**own, "stop": stop or self.stop, **given}),
            router=self.router if pinned is None else Fixed(str(pinned)),
            budget=self.budget,
            worker=self.worker,
            checks=self.checks if self.check_replies else None,
            telling=Telling(
                self.traces,
                self.ladder,
                run_id=run_id,
                thread_id=thread_id or str(metadata.get("thread_id") or ""),
            ),
        )


def _as_own(chunk: AIMessageChunk) -> AIMessageChunk:
    """A tier's chunk as one of the ladder's run: the last one is still to come."""
    update: dict[str, Any] = {"chunk_position": None}
    if (chunk.id or "").startswith("lc_run-"):
        update["id"] = None
    return chunk.model_copy(update=update)


def _end(message: AIMessage, streamed: list[AIMessageChunk]) -> AIMessageChunk:
    """The last chunk: the record, and the tokens of attempts that gave nothing."""
    told = reduce(add_usage, (chunk.usage_metadata for chunk in streamed), None)
    left = subtract_usage(message.usage_metadata, told)
    return AIMessageChunk(
        content="" if isinstance(message.content, str) else [],
        response_metadata={KEY: message.response_metadata[KEY]},
        usage_metadata=left if left["total_tokens"] else None,
        chunk_position="last",
    )
