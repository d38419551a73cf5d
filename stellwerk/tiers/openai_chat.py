"""A chat model behind an OpenAI-compatible server, without the OpenAI client's own view of an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

from stellwerk.tiers.failures import BrokenStreamError
from stellwerk.tiers.vllm_answer import messages_of, take_broken_calls


class ChatServed(ChatOpenAI):
    """As `ChatOpenAI`, but that answers come as the server gave them.

    A schema travels past the client, which would raise where an answer was cut off or filtered, refuse tools
    that are not strict, and leave usage and log-probabilities out of a stream. Calls of tools whose arguments
    are no object are invalid calls, and not an error. A stream that ends without a reason to stop is an
    error, and not an answer.
    """

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: LangChain would load it as a class of its own package."""
        return False

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if isinstance(payload.get("response_format"), dict):  # the client alone can parse into a class
            form = payload.pop("response_format")
            payload["extra_body"] = {**(payload.get("extra_body") or {}), "response_format": form}
        return payload

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        broken = [take_broken_calls(message) for message in messages_of(response)]
        result = super()._create_chat_result(response, generation_info)
        for generation, calls in zip(result.generations, broken, strict=False):
            if calls and isinstance(generation.message, AIMessage):
                generation.message.invalid_tool_calls += calls
        return result

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        has_ended = False
        for chunk in super()._stream(*args, **kwargs):
            has_ended = has_ended or _is_last(chunk)
            yield chunk
        if not has_ended:
            raise BrokenStreamError(self.model_name)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        has_ended = False
        async for chunk in super()._astream(*args, **kwargs):
            has_ended = has_ended or _is_last(chunk)
            yield chunk
        if not has_ended:
            raise BrokenStreamError(self.model_name)


def _is_last(chunk: ChatGenerationChunk) -> bool:
    said = (chunk.generation_info or {}, chunk.message.response_metadata)
    return any(each.get("finish_reason") for each in said)
